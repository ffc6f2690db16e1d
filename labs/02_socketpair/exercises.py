"""Lab 02, socketpair: your exercises. `make check-2` judges them, `make hint EX=2.1` helps.

You may add functions of your own, and later exercises may use the pieces of earlier ones: 2.8 is made of them.
Standard library only. The handout, README.md beside this file, says more about each.
"""

MAX_FRAME_BYTES = 65536  # the limit that 2.8 gives to its FrameReader


# Three errors, ready for use: raise them as the tasks say.


class EndedEarly(EOFError):
    """End of file came before all that was wanted: EndedEarly(3, 10) says "end of file after 3 of 10 bytes"."""

    def __init__(self, received, wanted):
        super().__init__(f"end of file after {received} of {wanted} bytes")


class FrameTooLong(ValueError):
    """A length prefix asks for more bytes than the limit."""


class NoConnection(Exception):
    """A message came that does not bring exactly one descriptor."""


# 2.1 ask a child


def ask_child(transform, question):
    """Fork a child that answers one question, over one socketpair, used in both directions.

    The child receives the question up to its end, computes transform(question), sends that back and leaves by
    os._exit. The question's end is told by shutdown(SHUT_WR): the parent still wants to read from the same end.

    Arguments: transform, a function from bytes to bytes, to be called in the child only; question, bytes, perhaps
    none, perhaps a megabyte.
    Returns (answer, status): bytes, and the child's exit status as os.waitstatus_to_exitcode gives it. A child that
    was killed by signal 9 gives (b"", -9); one whose transform raised, (b"", 1).
    Afterwards: the child is reaped, and both ends are closed in the parent, by you and not by the garbage collector.
    While transform runs, the child holds one end of the pair, and only that one. Source: socketpair(2), shutdown(2).
    """
    raise NotImplementedError("exercise 2.1 is not started")


# 2.2 receive exactly n bytes


def receive_exactly(sock, n):
    """Receive exactly n bytes from a blocking stream socket: wait for what is missing, take nothing of what follows.

    Arguments: sock, a connected stream socket; n, bytes, 0 or more (0: nothing is read, and nothing waited for).
    Returns n bytes. Raises EndedEarly(received, n) when end of file comes first. Source: recv(2); UNP 3.9, readn.
    """
    raise NotImplementedError("exercise 2.2 is not started")


# 2.3 non-blocking by fcntl


def set_nonblocking(fd):
    """Set O_NONBLOCK on a descriptor by fcntl, and leave every other flag as it is.

    Argument: fd, an open descriptor (an int).
    Returns the file status flags as they were before, so that the caller can restore them by F_SETFL.
    Raises OSError as fcntl does: a closed descriptor is EBADF. Source: fcntl(2), F_GETFL and F_SETFL.
    """
    raise NotImplementedError("exercise 2.3 is not started")


# 2.4 classify recv's outcomes


def classify_recv(sock, n):
    """Receive once, without waiting, and say which of recv's four outcomes it was. Labs 03 and 04 build on this.

    It never waits, also on a blocking socket, and leaves the socket's mode as it was.
    Arguments: sock, a stream socket; n, the most bytes to take, at least 1.
    Returns a tuple (kind, detail):
      ("data", the bytes that came)      ("end", b"") at end of file
      ("would block", errno), an int     ("error", errno) for every other OSError, such as errno.ECONNRESET
    Raises ValueError when n is less than 1: recv(0) gives b"" as the end of file does. Source: recv(2).
    """
    raise NotImplementedError("exercise 2.4 is not started")


# 2.5 frame messages by length


def send_frame(sock, payload):
    """Send one frame: four bytes of length, big-endian (struct "!I"), then the payload.

    Arguments: sock, a stream socket, blocking or non-blocking; payload, bytes, perhaps none.
    Returns None when the kernel has taken all of it. A send may take a part: send the rest, and while there is no room
    wait in poll or select for it; do not spin. Raises OSError as send does. Source: send(2); struct in Python's docs.
    """
    raise NotImplementedError("exercise 2.5 is not started")


class FrameReader:
    """Turns the bytes of a stream, however they are cut, back into payloads. It has no socket: feed it.

    FrameReader(limit): limit is the largest payload allowed, in bytes.
    """

    def __init__(self, limit):
        raise NotImplementedError("exercise 2.5 is not started")

    def feed(self, data):
        """Take the next bytes of the stream, any number of them.

        Returns the list of payloads (bytes) that are now whole, in order; often empty. The rest is kept.
        Raises FrameTooLong as soon as a prefix asks for more than the limit: before its payload comes.
        """
        raise NotImplementedError("exercise 2.5 is not started")

    def end(self):
        """Say that the stream has ended. Raises EndedEarly(received, wanted) in the middle of a frame, else nothing.

        Both numbers count the frame's prefix too; in the middle of the prefix, wanted is 4.
        """
        raise NotImplementedError("exercise 2.5 is not started")


# 2.6 end a worker by closing


class Worker:
    """A child process that works at the other end of a socketpair, until this end is closed.

    Worker(task): forks the child. It calls task(end), end being its own end of the pair (a socket), and leaves by
    os._exit with the int that task returned (None: 0), or with 1 when task raised.
    Attributes: sock, the parent's end, a stream socket; pid, the child's.
    A worker holds its own end and no other worker's: Worker objects made later must not keep earlier ones alive.
    """

    def __init__(self, task):
        raise NotImplementedError("exercise 2.6 is not started")

    def end(self):
        """End the worker by closing sock, and by nothing else: no signal, no message. Wait until it has left.

        Returns its exit status as os.waitstatus_to_exitcode gives it; a second call returns the same again.
        """
        raise NotImplementedError("exercise 2.6 is not started")


# 2.7 hand over a connection


def send_connection(channel, connection):
    """Hand an open connection to the process at the other end of a channel (SCM_RIGHTS), and close our copy.

    Arguments: channel, one end of a stream socketpair; connection, a connected socket.
    Returns None. Raises OSError as sendmsg does. Source: unix(7), cmsg(3); socket.sendmsg in Python's docs.
    """
    raise NotImplementedError("exercise 2.7 is not started")


def receive_connection(channel):
    """Receive one connection that send_connection sent: wait for it, and take no byte of the next message.

    Argument: channel, one end of a stream socketpair.
    Returns a socket, closed on exec (not inheritable); None at end of file.
    Raises NoConnection for a message that brings no descriptor, or more than one; then none of them stays open.
    Source: unix(7), recvmsg(2); cpython issue 107898: socket.recv_fds does not pass its flags on.
    """
    raise NotImplementedError("exercise 2.7 is not started")


# 2.8 a pool of workers


class Pool:
    """A pre-forked server: the parent accepts, and hands each connection to a free worker.

    Pool(answer, size): forks `size` workers, each on a socketpair of its own. answer is a function from bytes to
    bytes; it is called in the workers only.
    A worker serves one connection at a time: it reads frames (FrameReader, MAX_FRAME_BYTES) and sends answer(payload)
    as a frame for each, until end of file. A client that breaks the rules (a frame too long, a reset) costs its own
    connection, and never the worker.
    """

    def __init__(self, answer, size):
        raise NotImplementedError("exercise 2.8 is not started")

    def serve(self, listener, control):
        """Serve until `control` is readable, which it is when its other end is closed.

        Arguments: listener, a listening TCP socket; control, one end of a socketpair.
        Each new connection goes to a worker that is free: while none is, connections wait in the listener's backlog.
        A worker tells over its own pair that it is free again. A worker that dies costs its connection only: reap it,
        and fork another in its place.
        At the end the workers are ended by closing; connections in hand are served to their end first. All are reaped.
        Returns {pid: exit status} of every worker that there was.
        """
        raise NotImplementedError("exercise 2.8 is not started")

"""Lab 04, the poll server: your exercises. `make check-4` judges them, `make hint EX=4.2` helps.

Edit this file and no other. Each docstring is the whole contract. Write the pieces one by one: 4.7 puts them together
into a chat server of your own, and runs it. You may add functions and classes. Standard library only.
"""

import argparse
import math
import os
import resource
import signal
import socket
import sys

MAX_LINE_BYTES = 65536  # the longest line of the chat, its newline included
IOV_MAX = 1024  # the most buffers that one sendmsg takes: sysconf(3), _SC_IOV_MAX
OTHER_DESCRIPTORS = 32  # standard streams, the listener, newcomers that are turned away, and some to spare


class LineTooLong(ValueError):
    """Somebody's line is longer than allowed. `lines`: the whole lines that came before it, still to be delivered."""

    def __init__(self, lines):
        super().__init__("a line that is too long")
        self.lines = lines


# 4.1 Predict. Read this program, think, and replace the four None by numbers; `make check-4.1` runs it and compares.
# Nobody here ever says a word to the listener or to `first`.
#
#     import resource
#     import select
#     import socket
#
#     listener = socket.create_server(("127.0.0.1", 0))
#     clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
#     poller = select.poll()
#     poller.register(listener, select.POLLIN)
#     print(len(poller.poll()))  # READY
#
#     first, _ = listener.accept()
#     poller.unregister(listener)
#     poller.register(first, select.POLLIN | select.POLLOUT)
#     print(sum(len(poller.poll(10)) for _ in range(20)))  # IDLE_WAKE_UPS
#
#     reader, connection = socket.socketpair()
#     connection.setblocking(False)
#
#     def send(data):
#         try:
#             return connection.send(data)
#         except BlockingIOError:  # EAGAIN: well, then not
#             return 0
#
#     while send(b"x"):
#         pass
#     for number in range(10):
#         if number == 4:
#             reader.recv(65536)  # all of it: the buffers hold some hundreds of bytes sent one by one
#         send(b"line %d\n" % number)
#     print(reader.recv(65536).count(b"\n"))  # ARRIVED
#
#     _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
#     resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no new descriptor for this process
#     poller.unregister(first)
#     poller.register(listener, select.POLLIN)
#     woken = 0
#     for _ in range(7):
#         woken += len(poller.poll(10))
#         try:
#             listener.accept()
#         except OSError:  # EMFILE
#             pass
#     print(woken)  # WAKE_UPS_AT_THE_LIMIT

READY = None  # how many descriptors the first poll names
IDLE_WAKE_UPS = None  # how many of the 20 polls say something about an idle connection; each waits 10 ms at most
ARRIVED = None  # how many of the 10 lines arrive
WAKE_UPS_AT_THE_LIMIT = None  # how many of the 7 polls say something of the listener, of which no accept succeeds


class LineReader:
    """4.2 Cut one client's lines out of what recv gives, however it is cut. It has no socket: feed it.

    LineReader(limit): limit, the longest line allowed, in bytes, its newline included.
    A line goes on to its b"\\n" and keeps it; every other byte, NUL and 0xFF too, is just a byte of the line.
    The work grows with the bytes that come: not with the bytes that are kept, each time anew, when a line trickles in
    byte by byte; nor with all that is left of a chunk, for each line in it. Source: recv(2); UNP 3.9.
    """

    def __init__(self, limit=MAX_LINE_BYTES):
        raise NotImplementedError("exercise 4.2 is not started")

    def feed(self, chunk):
        """Take the next bytes of the stream, and return the list of the lines (bytes) that are now whole, in order.

        Raises LineTooLong(lines) with the byte that makes a line too long: as soon as `limit` bytes have come of a line
        without a newline among them. lines: the whole lines before it. After that the reader is not used any more.
        """
        raise NotImplementedError("exercise 4.2 is not started")

    def finish(self):
        """The client has sent FIN: return the unfinished line, completed with b"\\n"; b"" when there is none."""
        raise NotImplementedError("exercise 4.2 is not started")

    def drop(self):
        """The client has gone by a reset: forget the unfinished line, and return how many bytes of it there were."""
        raise NotImplementedError("exercise 4.2 is not started")


class OutputQueue:
    """4.3 What one client has still to be sent.

    Its buffers are bytes or memoryviews that a thousand other queues may hold too, so it never copies or joins them: it
    keeps the objects that it is given, and sends them from where they are. Source: sendmsg(2), writev(2); UNP 14.5.
    """

    def __init__(self):
        raise NotImplementedError("exercise 4.3 is not started")

    def push(self, buffer):
        """Put a buffer at the end. Nothing is sent yet."""
        raise NotImplementedError("exercise 4.3 is not started")

    def pending(self):
        """Return how many bytes the kernel has not taken yet: an int."""
        raise NotImplementedError("exercise 4.3 is not started")

    def events(self):
        """Return what poll is to watch for this queue: select.POLLOUT while a byte is pending, else 0."""
        raise NotImplementedError("exercise 4.3 is not started")

    def flush(self, sock):
        """Send as much as the kernel takes now, and return how many bytes it took: 0 when it takes none.

        Argument: sock, a non-blocking stream socket. Each sendmsg is given as many buffers as there are, but no more
        than IOV_MAX. A sendmsg that takes only a part ends in the middle of some buffer: the next flush goes on with
        the byte behind it. This flush ends then, or at EAGAIN, or when nothing is pending: it never waits or spins.
        Raises OSError as sendmsg does, except for EAGAIN.
        """
        raise NotImplementedError("exercise 4.3 is not started")


def accept_all(listener):
    """4.4 Accept until nobody waits any more, and say whether the listener is worth polling.

    Argument: listener, a non-blocking listening TCP socket.
    Returns (connections, watch). connections: a list of sockets, in the order of their coming, each non-blocking and
    with TCP_NODELAY set. watch: True when accept said EAGAIN, so that poll will tell of the next newcomer; False when
    there is no descriptor or no memory for another one (EMFILE, ENFILE, ENOBUFS, ENOMEM): then the listener stays
    readable, and a loop that polls it spins. In both cases the connections accepted so far are returned.
    Somebody who has left before accept came to him (ECONNABORTED) is passed over. Any other OSError is raised.
    Source: accept(2), ERRORS and "Error handling"; tcp(7).
    """
    raise NotImplementedError("exercise 4.4 is not started")


class BackPressure:
    """4.5 Decide when senders have to wait, and which reader has to go. No socket, no clock, no waiting: it is told.

    BackPressure(limit, stall_seconds): limit, how many bytes a client's queue may hold.
    A queue is full from when it holds `limit` bytes or more, until it holds three quarters of that, or less: between
    the two it is full only if it has been. While any queue is full, senders wait.
    A client has to go when its queue is full and has not shrunk for `stall_seconds`. Whoever reads, slowly, may stay.
    Clients are named by anything that can be a key of a dict. Times, `now`, are seconds (float) of one clock, which the
    caller reads; it never goes back. Source: send(2), tcp(7) on the window; the handout.
    """

    def __init__(self, limit, stall_seconds):
        raise NotImplementedError("exercise 4.5 is not started")

    def update(self, client, pending, now):
        """Hear that at the time `now` the queue of `client` holds `pending` bytes."""
        raise NotImplementedError("exercise 4.5 is not started")

    def left(self, client):
        """Hear that `client` is gone, with its queue. Nothing is known of some clients: then nothing happens."""
        raise NotImplementedError("exercise 4.5 is not started")

    def senders_wait(self):
        """Return whether some queue is full: True or False."""
        raise NotImplementedError("exercise 4.5 is not started")

    def stalled(self, now):
        """Return the list of the clients that have to go, in any order. They are named again until they have left."""
        raise NotImplementedError("exercise 4.5 is not started")

    def wait_seconds(self, now):
        """Return how many seconds poll may sleep before somebody has to go, at least 0; None while no queue is full."""
        raise NotImplementedError("exercise 4.5 is not started")


def share_out(turn, clients):
    """4.6 Say what each client gets of all that one turn of the loop has read, everything but its own, in order.

    Arguments: turn, a list of (sender, data) in the order in which it was read; data, bytes, whole lines; a sender may
    come several times, and may have left meanwhile. clients, a list of those that are in the room. Senders and clients
    are keys of a dict.
    Returns a dict: client → the list of buffers (bytes or memoryview) that it is to be sent. Joined, they are what the
    others have said in this turn, in the order of `turn`: the same order for everybody. A client that gets nothing is
    not in the dict.
    The turn's bytes are copied once, however many clients there are: join them, and give out views (memoryview). Who
    has said nothing gets one buffer, all of it; who has said something k times gets at most k + 1, none of them empty.
    Source: memoryview in Python's documentation.
    """
    raise NotImplementedError("exercise 4.6 is not started")


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    """4.7 Be a chat server, made of the pieces above: a line that a client says goes to every other client.

    Arguments: listener, a listening TCP socket, blocking or not; max_clients, how many may be in the room; queue_bytes
    and stall_seconds, for BackPressure; half_close_seconds, how long one that has sent FIN is still sent to.
    It never returns; an exception, such as SystemExit from a signal handler, ends it.

    A turn of the loop: poll sleeps until something can be done, or somebody's time has come; newcomers are accepted;
    what is there is read, from each client once; it is shared out; each client is sent to. Nothing waits but poll, and
    poll is asked for no event that is there all the time and that nobody needs: an idle room sleeps.

    - A line goes, whole and once, to everyone who was in the room when it was read. Each sender's order is kept.
    - FIN: what the client has said is delivered, an unfinished line completed. The client is still sent to, until that
      fails or half_close_seconds have passed; then it is closed.
    - A reset, or a send that fails: the client is gone. Its whole lines are delivered, an unfinished one is dropped.
    - A line too long: its sender gets a notice, and its end. The lines before it are delivered.
    - A newcomer beyond max_clients gets a notice, and its end, also when it has already said something.
    - Such an end is clean: the notice, shutdown(SHUT_WR), and close only when the client has closed, or after a second
      or two. A close with unread bytes is a reset, which takes the notice with it. A notice is a line, from "* " on.
    - While some queue is full nobody is read. A client that has to go is closed, and logged on standard error.
    - No descriptor for a newcomer: the listener is not polled until a client has left, or for a second.
    Source: the handout, and all of the above.
    """
    raise NotImplementedError("exercise 4.7 is not started")


# Given: your server as a program. `python labs/04_poll_server/exercises.py --port 0` runs it, also in `make chat`.


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def parse_arguments():
    """The command line of the course's servers."""
    parser = Parser(description="A chat server of my own.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=9999, help="TCP port; 0: the kernel chooses (default %(default)s)")
    parser.add_argument("--max-clients", type=int, help="clients at a time (default: what the descriptor limit allows)")
    parser.add_argument("--queue-bytes", type=int, default=2**20, help="a queue is full then (default %(default)s)")
    parser.add_argument("--stall-seconds", type=float, default=1.0, help="with a full queue (default %(default)s)")
    parser.add_argument("--half-close-seconds", type=float, default=30.0, help="after a FIN (default %(default)s)")
    options = parser.parse_args()
    if not 0 <= options.port <= 65535:
        parser.error(f"--port is {options.port}, but a port is between 0 and 65535")
    for name in ("max_clients", "queue_bytes", "stall_seconds", "half_close_seconds"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            parser.error(f"--{name.replace('_', '-')} is {value}, but must be greater than 0")
    return options


def main():
    """Listen, say so, and serve until SIGINT or SIGTERM comes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    options = parse_arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    allowed = hard - OTHER_DESCRIPTORS
    if allowed < (options.max_clients or 1):
        sys.exit(f"exercises.py: {options.max_clients or 1} clients need more than the {hard} descriptors there may be")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)  # a restart may find old connections in TIME_WAIT
    try:
        listener.bind((options.host, options.port))
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        sys.exit(f"exercises.py: cannot listen on {options.host}:{options.port}: {error.strerror}")
    try:
        os.write(1, "listening on {}:{}\n".format(*listener.getsockname()).encode())
    except OSError as error:
        sys.exit(f"exercises.py: cannot write to standard output: {error.strerror}")
    limits = (options.max_clients or allowed, options.queue_bytes, options.stall_seconds, options.half_close_seconds)
    try:
        serve(listener, *limits)
    except NotImplementedError as error:
        sys.exit(f"exercises.py: {error}")


if __name__ == "__main__":
    main()

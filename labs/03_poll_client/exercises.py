"""Lab 03, the poll client: your exercises. `make check-3` judges them, `make hint EX=3.1` helps.

You may add functions of your own, and later exercises may use the pieces of earlier ones: 3.8 is made of them, and then
`python labs/03_poll_client/exercises.py HOST PORT` chats. Standard library only. The handout, README.md beside this
file, says more about each.
"""

import sys

PIPE_BYTES = 65536  # what a pipe holds, and so the most that one splice moves
CONNECT_SECONDS = 5.0  # how long 3.8 waits for the server to answer

# Characters that turn the direction of the text around them, for exercise 3.6 (Unicode Standard Annex 9).
DIRECTION_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


# 3.1 predict revents
#
# poll() is asked for POLLIN | POLLRDHUP on one descriptor, in each of the situations below, and comes back at once or
# after a moment. Which events does it report? Replace each None by their names: "IN", "IN RDHUP", or "" for none.
# The names: IN, OUT, RDHUP, HUP, ERR, NVAL. `make check-3` makes the situations, and compares.

FIN_AFTER_DATA = None  # a TCP connection: the peer has sent a line and closed; the line is not read yet
RESET_AFTER_DATA = None  # the peer has sent a line, and then reset the connection (RST); the line is not read yet
HALF_CLOSED_BY_US = None  # we have called shutdown(SHUT_WR), the peer has read to the end, and says nothing
NEVER_CONNECTED = None  # a TCP socket that nobody has connected
REFUSED = None  # a non-blocking connect was refused; poll is asked for POLLOUT alone
PIPE_CLOSED = None  # the reading end of a pipe: it is empty, and its writer is gone
PIPE_CLOSED_WITH_DATA = None  # the same, with a line in the pipe that is not read yet
FILE_AT_ITS_END = None  # a regular file, all of it read already
CLOSED_DESCRIPTOR = None  # a number that was a descriptor, and is closed


# 3.2 what to do, and in which order


def plan(keyboard, network, left):
    """Decide what a client does after one poll: which steps, and in which order.

    Arguments: keyboard, network, the revents of standard input and of the socket (ints: select.POLL… or'ed, or 0);
    left, bytes that an earlier short move has left in the pipe between them. poll was asked for POLLIN on the keyboard,
    for POLLIN | POLLRDHUP on the network, and for POLLOUT too while something is left.
    Returns a list of these words, in the order in which the client takes the steps; it may be empty:
      "print"       receive what is there, and print it
      "drain"       receive and print until recv gives b"" or raises an error: nothing more can come
      "leave"       close, and end; only after a drain, and nothing else is done in that turn
      "flush"       splice what is left from the pipe to the socket
      "take"        splice from standard input into the pipe, and on to the socket
      "half-close"  shutdown(SHUT_WR), and poll standard input no more: it has ended
    Printing comes first: nothing may delay it. While something is left, nothing is taken, and no end is told: it might
    overtake. When the server has ended (in whatever way poll says so), everything that it said is printed, then the
    client leaves. Standard input has ended when poll says so and there is no data; while there is data, take it.
    Raises OSError with errno EBADF when poll was given a closed descriptor: that does not get better by itself.
    Source: poll(2).
    """
    raise NotImplementedError("exercise 3.2 is not started")


# 3.3 half-close at the end of input


def ask(sock, source_fd):
    """Send all that comes from a descriptor to the peer, tell it the end, and return all that it says.

    Each piece of the source is sent as soon as it is there. At the source's end the connection is half-closed: the
    peer sees end of file, and may still answer. The peer may talk at any time, also while it is being sent to, and then
    not read on before its own words are taken: so both directions are watched in one poll, and no send waits. The peer
    may end its half first, and still read.

    Arguments: sock, a connected TCP socket, blocking or not; source_fd, a descriptor (int) of a pipe or file, blocking.
    Both stay open: they are the caller's. sock's mode stays as it was (MSG_DONTWAIT holds for one call).
    Returns bytes: all that the peer has said until its end. It comes back when both have ended, source and peer.
    It sleeps in poll while there is nothing to do. Raises OSError as send and recv do. Source: shutdown(2), poll(2).
    """
    raise NotImplementedError("exercise 3.3 is not started")


# 3.4 connect without waiting


def connect_first(addresses, timeout):
    """Connect to several addresses at once, and keep the connection that is there first.

    No connect waits: each socket is non-blocking, all of them are tried side by side, and one poll waits for all. An
    address that fails, at once or later, is given up; the others are still waited for.

    Arguments: addresses, a list of (host, port), numeric IPv4, at least one; timeout, seconds for all of it (a float).
    Returns a connected socket, non-blocking. Every other socket is closed, by you and not by the garbage collector.
    Raises TimeoutError when the time is over and none has connected; when all have failed before that, the OSError of
    one of them: ConnectionRefusedError, say. Then no socket is left open.
    Source: connect(2), EINPROGRESS; socket(7), SO_ERROR; UNP 16.3.
    """
    raise NotImplementedError("exercise 3.4 is not started")


# 3.5 when splice cannot


def pump(source_fd, target_fd):
    """Move everything from one descriptor to another until end of file: by splice while that works, else by hand.

    splice goes through a pipe of yours. Where it fails with EINVAL (for the source: /dev/null, many files of /proc; for
    the target: a file opened with O_APPEND) the rest is moved by read and write, and splice is not called again.
    At the change nothing is lost and nothing comes twice; what is in the pipe by then goes first.

    Arguments: source_fd, target_fd, two open descriptors (ints), blocking; they stay open. A write may be short.
    Returns (spliced, copied): bytes that reached the target by splice, and bytes that came to it by write.
    Raises every other OSError as it is. The pipe is closed in any case. Source: splice(2).
    """
    raise NotImplementedError("exercise 3.5 is not started")


# 3.6 make a stranger's bytes safe to print


class Visible:
    """Turns the bytes that a stranger has sent into text that is safe on a terminal. It prints nothing: feed it.

    What stays: readable text in UTF-8, in any language, the newline and the tab.
    What is made visible: every other control character from 0x00 to 0x1F, and 0x7F, as ^X, the character 64 away from
    it (ESC is ^[, CR is ^M, DEL is ^?); U+0080 to U+009F and DIRECTION_CONTROLS as \\uXXXX (four hexadecimal digits,
    lower case); each byte that is not UTF-8 as \\xXX. Source: console_codes(4), utf-8(7).
    """

    def __init__(self):
        raise NotImplementedError("exercise 3.6 is not started")

    def feed(self, data):
        """Take the next bytes, cut anywhere, also inside a character.

        Returns str: everything that is known by now. Only the first bytes of an unfinished character are kept back.
        """
        raise NotImplementedError("exercise 3.6 is not started")

    def end(self):
        """Say that nothing more comes. Returns str: what was kept back, made visible; often ""."""
        raise NotImplementedError("exercise 3.6 is not started")


# 3.7 drain the pipe after short moves


class Uplink:
    """Moves standard input → pipe → socket by splice, and never waits. It does not poll: its owner does.

    Uplink(source_fd, sock): source_fd is a blocking descriptor (an int; a terminal, pipe, file or /dev/null), sock a
    connected TCP socket that is non-blocking. Both stay open: they are the caller's. The pipe is its own.
    Attributes: left, the bytes (a number) that are in the pipe; done, whether the source has ended, every byte of it is
    with the kernel's TCP, and the connection is half-closed.
    """

    def __init__(self, source_fd, sock):
        raise NotImplementedError("exercise 3.7 is not started")

    def events(self):
        """Tell what to poll for next.

        Returns (source_events, sock_events): POLLIN or 0 for the source, POLLOUT or 0 for the socket; 0 means that it
        need not be polled. POLLOUT only while something is left; the source only while the pipe is empty, since a
        splice into a full pipe waits. Both are 0 once it is done.
        """
        raise NotImplementedError("exercise 3.7 is not started")

    def turn(self, source_revents, sock_revents):
        """Move what can be moved now. The arguments are what poll has reported, perhaps 0 (ints).

        At most one splice from the source, when it is ready, and then the pipe to the socket as far as it takes it:
        what it does not take is left, in order. No SPLICE_F_MORE: the kernel would wait for more before it sends a
        typed line. A source that splice refuses with EINVAL is read instead, and written into the pipe (at most
        select.PIPE_BUF bytes at a time: so many fit into every empty pipe). At the source's end the connection is
        half-closed, after the last byte. Returns None. Raises OSError as splice does, EAGAIN excepted.
        Source: splice(2), pipe(7).
        """
        raise NotImplementedError("exercise 3.7 is not started")

    def close(self):
        """Close the pipe. It returns None; a second call does nothing, and source and socket stay open."""
        raise NotImplementedError("exercise 3.7 is not started")


# 3.8 a client of your own


def run_client(host, port, stdin_fd, stdout_fd):
    """Chat: what comes from stdin_fd goes to the server, what the server says goes to stdout_fd, until it ends.

    Connects within CONNECT_SECONDS. What the server says is printed when it comes, whatever standard input does, and
    also while the server does not read. At the end of standard input the connection is half-closed, and printing goes
    on. When the server ends, all that it has said is printed first; then this returns, also if standard input is open.
    On a terminal (os.isatty) a stranger's bytes are made visible; to anything else they go untouched.

    Arguments: host, a name or a numeric IPv4 address; port, an int; stdin_fd, stdout_fd, blocking descriptors (ints);
    they stay open. Everything else is closed at the end.
    Returns None when the server has ended the connection. Raises OSError when there is no connection, and when the
    server has reset it (ConnectionResetError), after its last words are printed. It sleeps while nothing happens.
    """
    raise NotImplementedError("exercise 3.8 is not started")


def main():
    """Run your client: `python labs/03_poll_client/exercises.py HOST PORT`. This is given. Returns the exit status."""
    if len(sys.argv) != 3 or not sys.argv[2].isdecimal() or int(sys.argv[2]) > 65535:
        print("usage: python labs/03_poll_client/exercises.py HOST PORT", file=sys.stderr)
        return 2
    try:
        run_client(sys.argv[1], int(sys.argv[2]), sys.stdin.fileno(), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    except (OSError, NotImplementedError) as error:
        print(f"exercises.py: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

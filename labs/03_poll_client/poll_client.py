"""The chat's client: one poll over the keyboard and the network, and what is typed moves without being copied.

    keyboard (0) ──splice──► pipe ──splice──► connection ──► server
    screen   (1) ◄──write─── program ◄──recv── connection ◄── server

What is left in the pipe decides what poll waits for: while something is left, POLLOUT and not the keyboard; else the
keyboard and not POLLOUT. So at most one pipe full is on its way, and nothing is asked for that nobody would handle.

The end of the input is told to the server by a half-close, and the printing goes on. The server's end of file ends the
program, since a close and a half-close look the same from here. Standard output is written with ordinary, blocking
writes: a stopped screen (^S) or a slow reader stops this program until it goes on, and TCP lets the server wait
meanwhile. O_NONBLOCK is never set on 0 and 1: they are shared with the shell, and with whoever reads the pipe.

Exit status: 0 when the conversation has ended; 1, with one line, when something was lost; 2 for a bad argument.

Sources: poll(2), splice(2), connect(2), shutdown(2), tcp(7); Stevens, UNIX Network Programming, 6 and 16; Kerrisk,
The Linux Programming Interface, 61 and 63.
"""

import argparse
import codecs
import contextlib
import errno
import os
import re
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

KEYBOARD, SCREEN = 0, 1
CHUNK_BYTES = 65536  # what a pipe holds: pipe(7)
CONNECT_SECONDS = 10.0
LONGEST_CONNECT_SECONDS = 3600.0
CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # these turn the text around them: Unicode Annex 9
HOSTILE = re.compile(f"[{CONTROLS}{DIRECTIONS}]")


class Failure(Exception):
    """The conversation cannot go on, or something was lost: one line for the user."""


class PollClient:
    """The client, step by step. host, port: whom to connect to; connect_seconds: how long to wait for each address.

    splicing: False reads and sends instead of splicing, as happens by itself where splice is refused.
    """

    def __init__(self, host: str, port: int, connect_seconds: float = CONNECT_SECONDS, splicing: bool = True):
        self.host, self.port, self.connect_seconds = host, port, connect_seconds
        self.splicing = splicing
        self.pipe = os.pipe()  # reading end, writing end
        self.copied = b""  # stands in for the pipe when not splicing
        self.left = 0  # bytes taken from the keyboard and not yet given to the connection
        self.input_ended = self.server_ended = False
        self.lost: OSError | None = None  # why the connection is no good any more, apart from reading to its end
        self.decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace") if os.isatty(SCREEN) else None

    def run(self) -> None:
        """Connect, and let both sides talk until the server has closed. Raises Failure, and OSError of the screen."""
        self.connect()
        with self.connection:
            while not self.server_ended:
                for descriptor, revents in self.wait():
                    if descriptor == KEYBOARD:
                        self.handle_keyboard(revents)
                    else:
                        self.handle_server(revents)
        self.say_how_it_ended()

    def wait(self) -> list[tuple[int, int]]:
        """Sleep until something is ready: (descriptor, revents), the keyboard first.

        Who is not to be heard is left out altogether: POLLHUP comes even to those who ask for nothing, at every turn.
        """
        poller = select.poll()
        if not self.left and not self.input_ended:
            poller.register(KEYBOARD, select.POLLIN)
        events = select.POLLIN | select.POLLRDHUP | (select.POLLOUT if self.left else 0)
        poller.register(self.connection, events)
        return poller.poll()

    def handle_keyboard(self, revents: int) -> None:
        """POLLIN, or POLLHUP alone (a pipe whose writer has gone): taking something tells which it is."""
        self.take()
        if self.left:
            self.give()

    def handle_server(self, revents: int) -> None:
        """Read first, whatever the events are: the last words lie before a FIN (POLLRDHUP) and before a reset."""
        if revents & (select.POLLIN | select.POLLRDHUP | select.POLLHUP | select.POLLERR):
            self.receive()
        if revents & select.POLLOUT and not self.server_ended:
            self.give()

    # Connecting.

    def connect(self) -> None:
        """Connect to the first of the host's addresses that answers, in getaddrinfo(3)'s order. Raises Failure."""
        try:
            addresses = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise Failure(f"cannot find {self.host!r}: {error.strerror}") from None
        except UnicodeError:
            raise Failure(f"{self.host!r} is not a host's name") from None
        for family, kind, protocol, _, address in addresses:
            number = self.attempt(family, kind, protocol, address)
            if not number:
                return
        raise Failure(f"cannot connect to {self.host}:{self.port}: {os.strerror(number)}")

    def attempt(self, family: int, kind: int, protocol: int, address: tuple) -> int:
        """Try one address without blocking. Returns 0, or the errno why not."""
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:  # EAFNOSUPPORT: no IPv6 here
            return error.errno
        connection.setblocking(False)
        number = connection.connect_ex(address)
        if number == errno.EINPROGRESS:
            number = self.outcome(connection)
        if number:
            connection.close()
            return number
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a line waits for no acknowledgement
        self.connection = connection
        return 0

    def outcome(self, connection: socket.socket) -> int:
        """Wait for POLLOUT: the attempt is over. How it went is in SO_ERROR: connect(2), EINPROGRESS."""
        poller = select.poll()
        poller.register(connection, select.POLLOUT)
        if not poller.poll(self.connect_seconds * 1000):
            return errno.ETIMEDOUT
        number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number in (errno.ECONNRESET, errno.EPIPE):  # it stood, and was reset since: there may be last words
            self.lost, number = OSError(number, os.strerror(number)), 0
        return number

    # From the keyboard to the server.

    def take(self) -> None:
        """Take what was typed, a pipe full at most. No bytes: end of input. Raises Failure."""
        try:
            self.left = self.take_by_splice() if self.splicing else self.take_by_read()
        except BlockingIOError:  # someone who shares the keyboard was faster
            return
        except OSError as error:
            raise Failure(f"cannot read standard input: {error.strerror}") from None
        if not self.left:
            self.end_input()

    def give(self) -> None:
        """Give the connection what it has room for; the rest stays, and poll is asked for POLLOUT."""
        try:
            self.left -= self.give_by_splice() if self.splicing else self.give_by_send()
        except BlockingIOError:
            return
        except OSError as error:  # EPIPE, ECONNRESET: there may be last words to read all the same, so no end yet
            self.lost, self.left = self.lost or error, 0
            self.end_input()

    def take_by_splice(self) -> int:
        try:
            return os.splice(KEYBOARD, self.pipe[1], CHUNK_BYTES, flags=os.SPLICE_F_NONBLOCK)
        except OSError as error:
            self.stop_splicing(error)
            return self.take_by_read()

    def give_by_splice(self) -> int:
        """Without SPLICE_F_MORE, by which TCP would wait for more. The socket's O_NONBLOCK keeps this from waiting."""
        try:
            return os.splice(self.pipe[0], self.connection.fileno(), self.left, flags=os.SPLICE_F_NONBLOCK)
        except OSError as error:
            self.stop_splicing(error)
            return self.give_by_send()

    def take_by_read(self) -> int:
        self.copied = os.read(KEYBOARD, CHUNK_BYTES)
        return len(self.copied)

    def give_by_send(self) -> int:
        sent = self.connection.send(self.copied)
        self.copied = self.copied[sent:]
        return sent

    def stop_splicing(self, error: OSError) -> None:
        """After EINVAL read and send for good: /dev/null, for one, cannot be spliced. The pipe's bytes go first."""
        if error.errno != errno.EINVAL:
            raise error
        self.splicing = False
        self.copied = os.read(self.pipe[0], self.left) if self.left else b""

    def end_input(self) -> None:
        """Tell the server that nothing more will come, and go on listening."""
        self.input_ended = True
        with contextlib.suppress(OSError):  # ENOTCONN: the connection was reset; reading tells
            self.connection.shutdown(socket.SHUT_WR)

    # From the server to the screen.

    def receive(self) -> None:
        """Print what has come, or note the end: end of file, or an error such as ECONNRESET."""
        try:
            data = self.connection.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost, data = error, b""
        self.show(data, last=not data)
        self.server_ended = not data

    def show(self, data: bytes, last: bool = False) -> None:
        """Print bytes: untouched to a file or pipe, made safe on a terminal. last: nothing follows."""
        if self.decoder:
            data = make_visible(self.decoder.decode(data, last)).encode()
        write_all(SCREEN, data)

    def say_how_it_ended(self) -> None:
        """Say nothing when both sides had finished. Raises Failure when some of the input did not reach the server."""
        if self.lost:
            raise Failure(f"connection lost: {self.lost.strerror}")
        if self.left:
            raise Failure("the server closed the connection before all input was sent")
        if not self.input_ended:
            tell("the server closed the connection")


def make_visible(text: str) -> str:
    """Text that obeys no stranger: ESC as ^[, U+009B as \\u009b; newlines and tabs stay: console_codes(4)."""
    return HOSTILE.sub(lambda found: caret(ord(found[0])), text)


def caret(code: int) -> str:
    return f"^{chr(code ^ 0x40)}" if code < 0x80 else f"\\u{code:04x}"


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it. EAGAIN is for a descriptor on which another program has set O_NONBLOCK."""
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            poller.poll()


def tell(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody may read standard error
        write_all(2, f"{os.path.basename(sys.argv[0])}: {text}\n".encode(errors="backslashreplace"))


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description="Standard input to the server, the server to standard output, both at the same time.")
    parser.add_argument("host", metavar="HOST", help="name or address of the server")
    parser.add_argument("port", metavar="PORT", type=int, help="its TCP port, a number")
    parser.add_argument("--connect-timeout", metavar="SECONDS", type=float, default=CONNECT_SECONDS,
                        help="how long to wait for each of the host's addresses (default %(default)g)")  # fmt: skip
    parser.add_argument("--no-splice", action="store_true", help="copy: read and send instead of splice")
    options = parser.parse_args(arguments)
    if not 1 <= options.port <= 65535:
        parser.error(f"PORT is {options.port}, but a port is between 1 and 65535")
    if not 0 < options.connect_timeout <= LONGEST_CONNECT_SECONDS:
        parser.error(f"--connect-timeout is {options.connect_timeout:g}, but it is above 0 and at most 3600 seconds")
    return options


def main(client_class: type[PollClient] = PollClient) -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ^C ends it at once, in silence, and the shell learns of it
    options = parse_arguments()
    for stream in (sys.stdin, sys.stderr):
        if stream is None:  # closed, as by `<&-`: no pipe or socket of ours may become number 0 or 2
            os.open(os.devnull, os.O_RDWR)
    try:
        client_class(options.host, options.port, options.connect_timeout, not options.no_splice).run()
    except Failure as failure:
        tell(str(failure))
        sys.exit(1)


def run_program(main: Callable[[], object]) -> None:
    """Run a program, and end it with status 1 when standard output takes nothing more: write(2), section ERRORS.

    A reader that has gone (EPIPE) needs no words. Anything else, such as a full disk, is told in one line.
    """
    if sys.stdout is None:
        sys.exit(f"{os.path.basename(sys.argv[0])}: standard output is closed")
    try:
        try:
            main()
        finally:
            sys.stdout.flush()  # the interpreter would do it after the last `except`
    except OSError as error:
        if error.errno != errno.EPIPE:
            tell(f"cannot go on: {error.strerror}")
        os._exit(1)  # an ordinary exit would flush again, and fail again


if __name__ == "__main__":
    run_program(main)

"""Lab 03, the poll client: the exercises solved. The tasks stand in labs/03_poll_client/exercises.py."""

import codecs
import contextlib
import errno
import os
import select
import socket
import sys
import time

PIPE_BYTES = 65536
CONNECT_SECONDS = 5.0

DIRECTION_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

ENDED = select.POLLRDHUP | select.POLLHUP | select.POLLERR  # each of them says that the server has ended


# 3.1

FIN_AFTER_DATA = "IN RDHUP"
RESET_AFTER_DATA = "IN RDHUP HUP ERR"
HALF_CLOSED_BY_US = ""
NEVER_CONNECTED = "HUP"
REFUSED = "OUT HUP ERR"
PIPE_CLOSED = "HUP"
PIPE_CLOSED_WITH_DATA = "IN HUP"
FILE_AT_ITS_END = "IN"
CLOSED_DESCRIPTOR = "NVAL"


# 3.2


def plan(keyboard, network, left):
    if (keyboard | network) & select.POLLNVAL:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if network & ENDED:
        return ["drain", "leave"]
    steps = ["print"] if network & select.POLLIN else []
    if left:
        steps += ["flush"] if network & select.POLLOUT else []
    elif keyboard & select.POLLIN:
        steps.append("take")
    elif keyboard:
        steps.append("half-close")
    return steps


# 3.3


def ask(sock, source_fd):
    said, rest = [], b""
    sending = receiving = True
    while sending or receiving:
        source, network = wait_for_both(source_fd, sock, sending and not rest, receiving, rest)
        if network & ~select.POLLOUT and receiving:
            said.append(sock.recv(65536, socket.MSG_DONTWAIT))
            receiving = said[-1] != b""
        if network & select.POLLOUT:
            rest = rest[sock.send(rest, socket.MSG_DONTWAIT) :]
        if source:
            rest = os.read(source_fd, PIPE_BYTES)
            if not rest:
                sending = False
                half_close(sock)
    return b"".join(said)


def half_close(sock):
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:  # the peer has just reset it: the next recv tells
            raise


def wait_for_both(source_fd, sock, reading, receiving, rest):
    """Sleep until there is something to do; the revents of source and socket."""
    network = (select.POLLIN if receiving else 0) | (select.POLLOUT if rest else 0)
    return poll_both(source_fd, select.POLLIN if reading else 0, sock, network)


def poll_both(source_fd, source_events, sock, sock_events):
    """One poll over two descriptors; 0 for events leaves one out: poll would still report its HUP, at every turn."""
    poller = select.poll()
    for fd, events in ((source_fd, source_events), (sock.fileno(), sock_events)):
        if events:
            poller.register(fd, events)
    revents = dict(poller.poll())
    return revents.get(source_fd, 0), revents.get(sock.fileno(), 0)


# 3.4


def connect_first(addresses, timeout):
    deadline = time.monotonic() + timeout
    poller, trying, failure = select.poll(), {}, 0
    try:
        for address in addresses:
            sock = socket.socket()
            trying[sock.fileno()] = sock
            sock.setblocking(False)
            error = sock.connect_ex(address)
            if error in (0, errno.EINPROGRESS):
                poller.register(sock, select.POLLOUT)
            else:
                failure = give_up(trying, sock, error)
        while trying:
            ready = poller.poll(1000 * max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError(errno.ETIMEDOUT, f"no answer within {timeout:g} s")
            for fd, _ in ready:
                poller.unregister(fd)
                error = trying[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not error:
                    return trying.pop(fd)
                failure = give_up(trying, trying[fd], error)
        raise OSError(failure, os.strerror(failure))
    finally:
        for sock in trying.values():
            sock.close()


def give_up(trying, sock, error):
    """Close a socket that did not connect; returns its error."""
    del trying[sock.fileno()]
    sock.close()
    return error


# 3.5


def pump(source_fd, target_fd):
    reading, writing = os.pipe()
    spliced = left = 0
    try:
        while left := os.splice(source_fd, writing, PIPE_BYTES):
            while left:
                moved = os.splice(reading, target_fd, left)
                left -= moved
                spliced += moved
        return spliced, 0
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        write_all(target_fd, os.read(reading, left))
        return spliced, left + copy(source_fd, target_fd)
    finally:
        os.close(reading)
        os.close(writing)


def copy(source_fd, target_fd):
    """Read and write until end of file. Returns the number of bytes."""
    copied = 0
    while data := os.read(source_fd, PIPE_BYTES):
        write_all(target_fd, data)
        copied += len(data)
    return copied


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data) :]


# 3.6


class Visible:
    CARET = {code: "^" + chr(code ^ 64) for code in (*range(0x20), 0x7F) if chr(code) not in "\n\t"}
    ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x80, 0xA0), *map(ord, DIRECTION_CONTROLS))}

    def __init__(self):
        self.decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def feed(self, data):
        return self.decoder.decode(data).translate(self.CARET | self.ESCAPED)

    def end(self):
        return self.decoder.decode(b"", final=True)


# 3.7


class Uplink:
    def __init__(self, source_fd, sock):
        self.source_fd, self.sock = source_fd, sock
        self.reading, self.writing = os.pipe()
        self.left = 0
        self.ended = self.done = False

    def events(self):
        if self.left:
            return 0, select.POLLOUT
        return 0 if self.ended else select.POLLIN, 0

    def turn(self, source_revents, sock_revents):
        if source_revents and not self.left and not self.ended:
            self.take()
        if self.left:
            self.flush()
        if self.ended and not self.left and not self.done:
            half_close(self.sock)
            self.done = True

    def take(self):
        """One splice from the source into the empty pipe; 0 bytes are its end."""
        try:
            self.left = os.splice(self.source_fd, self.writing, PIPE_BYTES)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self.left = os.write(self.writing, os.read(self.source_fd, select.PIPE_BUF))
        self.ended = self.left == 0

    def flush(self):
        """As much of the pipe as the socket takes."""
        with contextlib.suppress(BlockingIOError):
            self.left -= os.splice(self.reading, self.sock.fileno(), self.left)

    def close(self):
        for fd in (self.reading, self.writing):
            if fd is not None:
                os.close(fd)
        self.reading = self.writing = None


# 3.8


def run_client(host, port, stdin_fd, stdout_fd):
    found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    sock = connect_first([address for *_, address in found], CONNECT_SECONDS)
    with sock, contextlib.closing(Uplink(stdin_fd, sock)) as uplink:
        screen = Screen(stdout_fd)
        while True:
            keyboard, network = poll_client(stdin_fd, sock, uplink)
            if network & ~select.POLLOUT:
                data = sock.recv(65536)
                screen.show(data)
                if not data:
                    return
            if not network & ENDED:
                with contextlib.suppress(ConnectionError):  # recv tells it too, after the server's last words
                    uplink.turn(keyboard, network)


def poll_client(stdin_fd, sock, uplink):
    """Sleep until something happens; the revents of standard input and socket."""
    source_events, sock_events = uplink.events()
    return poll_both(stdin_fd, source_events, sock, sock_events | select.POLLIN | select.POLLRDHUP)


class Screen:
    """Standard output: on a terminal a stranger's bytes are made visible, anywhere else they go untouched."""

    def __init__(self, fd):
        self.fd = fd
        self.visible = Visible() if os.isatty(fd) else None

    def show(self, data):
        """Print bytes; none say that the end has come."""
        if self.visible:
            data = (self.visible.feed(data) if data else self.visible.end()).encode()
        write_all(self.fd, data)


def main():
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

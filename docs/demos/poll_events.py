#!/usr/bin/env python3
"""Show what poll says of real descriptors, situation by situation, and what a read gives then.

Each line is one situation, made for real: events asked for, what poll reports in revents, what one read gives that does
not wait. It ends by itself. Sources: poll(2), tcp(7), pipe(7); Kerrisk, The Linux Programming Interface, 63.2.3.
"""

import argparse
import contextlib
import errno
import os
import pty
import select
import signal
import socket
import struct
import sys
import tempfile

NAMES = ("POLLIN", "POLLOUT", "POLLRDHUP", "POLLERR", "POLLHUP", "POLLNVAL")
READING = select.POLLIN | select.POLLRDHUP
WRITING = select.POLLOUT
SECOND = 1000  # milliseconds: poll(2)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds


def main() -> int:
    """Tell the story and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    argparse.ArgumentParser(
        description="Show what poll says of sockets, pipes, terminals and files, and what a read gives then."
    ).parse_args()
    for title, show in (
        ("A TCP connection; the other side …", show_connection),
        ("A TCP socket that is not connected, or whose buffer is full", show_sockets),
        ("A pipe", show_pipes),
        ("A terminal, a file, a number", show_others),
    ):
        print(title)
        show()
    return 0


def show_connection() -> None:
    with connection() as (ours, theirs):
        tell("says nothing", ours)
        theirs.send(b"line\n")
        tell("has said a line", ours)
        theirs.close()
        ours.recv(5)
        arrive(ours)
        tell("has closed", ours)
    with connection() as (ours, theirs):
        theirs.send(b"line\n")
        theirs.shutdown(socket.SHUT_WR)
        arrive(ours)
        tell("has said a line and closed, or half-closed", ours)
        ours.shutdown(socket.SHUT_WR)
        tell("the same, and we have half-closed too", ours)
    with connection() as (ours, theirs):
        ours.shutdown(socket.SHUT_WR)
        tell("says nothing, and we have half-closed", ours)
    with connection() as (ours, theirs):
        theirs.send(b"line\n")
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        theirs.close()
        arrive(ours)
        tell("has said a line, and reset the connection", ours)


def show_sockets() -> None:
    with socket.socket() as never:
        tell("never connected", never, READING | WRITING)
    with socket.socket() as refused, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # a port that is taken, and not listened on
        refused.setblocking(False)
        refused.connect_ex(nobody.getsockname())
        arrive(refused)
        tell("a connect that was refused", refused, WRITING)
    with connection() as (ours, theirs):
        tell("connected, room to send", ours, WRITING)
        fill(ours)
        tell("connected, nobody reads, the buffers are full", ours, WRITING)


def show_pipes() -> None:
    reader, writer = os.pipe()
    tell("empty", reader)
    os.write(writer, b"line\n")
    os.close(writer)
    tell("with a line, its writer gone", reader)
    tell("empty, its writer gone", reader)
    os.close(reader)
    reader, writer = os.pipe()
    os.close(reader)
    tell("its reader gone (asked of the writing end)", writer, WRITING)
    os.close(writer)


def show_others() -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"line\n")
    tell("a terminal, a line typed", theirs)
    os.write(ours, b"\x04")
    tell("a terminal, ^D typed", theirs)
    os.close(ours)
    tell("a terminal whose window is closed", theirs)
    os.close(theirs)
    with tempfile.TemporaryFile() as file:
        tell("a file, at its end", file.fileno())
    with open(os.devnull, "rb", buffering=0) as null:
        tell("/dev/null", null.fileno())
    tell("a number that is not open", theirs)


@contextlib.contextmanager
def connection():
    """A TCP connection's two ends, and their end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs = listener.accept()[0]
    with ours, theirs:
        yield ours, theirs


def arrive(end: socket.socket) -> None:
    """Wait until a FIN, a reset or a refusal has arrived: POLLRDHUP is asked for, POLLERR and POLLHUP come unasked."""
    poller = select.poll()
    poller.register(end, select.POLLRDHUP)
    poller.poll(SECOND)


def fill(end: socket.socket) -> None:
    """Send until there is no more room, also after the buffers have settled."""
    poller = select.poll()
    poller.register(end, select.POLLOUT)
    while poller.poll(SECOND / 20):
        with contextlib.suppress(BlockingIOError):
            end.send(bytes(65536), socket.MSG_DONTWAIT)


def tell(situation: str, descriptor, events: int = READING) -> None:
    """Print one situation: what poll says of it, without waiting, and what a read gives."""
    poller = select.poll()
    poller.register(descriptor, events)
    revents = dict(poller.poll(0)).get(descriptor if isinstance(descriptor, int) else descriptor.fileno(), 0)
    said = " ".join(name for name in NAMES if revents & getattr(select, name)) or "nothing"
    then = f"-> {read_now(descriptor)}" if events & select.POLLIN else ""
    print(f"   {situation:45} {said:34} {then}".rstrip())


def read_now(descriptor) -> str:
    """What a read gives that must not wait, in words. What a socket holds is only looked at, and stays there."""
    try:
        if isinstance(descriptor, socket.socket):
            return repr(descriptor.recv(100, socket.MSG_DONTWAIT | socket.MSG_PEEK))
        os.set_blocking(descriptor, False)
        return repr(os.read(descriptor, 100))
    except OSError as error:
        return errno.errorcode[error.errno]


if __name__ == "__main__":
    sys.exit(main())

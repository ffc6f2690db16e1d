#!/usr/bin/env python3
"""Show what a non-blocking send says: a number, EAGAIN, EPIPE, ECONNRESET; and poll's POLLOUT beside it.

Each situation is made anew over TCP on this machine. It ends by itself. Sources: send(2), poll(2), tcp(7).
"""

import argparse
import contextlib
import errno
import select
import signal
import socket
import struct
import sys

MANY_BYTES = 10_000_000
SETTLING_SECONDS = 0.1
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, socket(7)


def pair() -> tuple[socket.socket, socket.socket]:
    """A TCP connection: our end, non-blocking, and the other side's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    return ours, theirs


def tell(words: str, ours: socket.socket, data: bytes) -> None:
    """Ask poll for POLLOUT, send, and print what both say."""
    poller = select.poll()
    poller.register(ours, select.POLLOUT)
    said = dict(poller.poll(0)).get(ours.fileno(), 0)
    events = " ".join(name for name in ("POLLOUT", "POLLERR", "POLLHUP") if said & getattr(select, name)) or "nothing"
    try:
        result = f"{ours.send(data, socket.MSG_NOSIGNAL)}"  # EPIPE, and no SIGPIPE, which Python ignores elsewhere
    except OSError as error:
        result = errno.errorcode[error.errno]
    print(f"   {words:46} {events:24} -> {result}")


def wait_for(ours: socket.socket, event: int) -> None:
    """Until poll names this event: what the other side has done has arrived."""
    poller = select.poll()
    poller.register(ours, event)
    poller.poll()


def show() -> None:
    """Make every situation, and print it."""
    print("A non-blocking send, the other side reading nothing")
    ours, _theirs = pair()
    tell("of nothing", ours, b"")
    tell("of six bytes", ours, b"hello\n")
    tell(f"of {MANY_BYTES} bytes", ours, bytes(MANY_BYTES))
    fill(ours)
    tell("of six bytes, now that the buffers are full", ours, b"hello\n")
    print("A send to somebody who has gone")
    ours, theirs = pair()
    theirs.close()
    wait_for(ours, select.POLLIN)
    tell("closed: the first send", ours, b"hello\n")
    wait_for(ours, 0)  # POLLERR and POLLHUP come unasked
    tell("closed: the second send", ours, b"hello\n")
    ours, theirs = pair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    theirs.close()
    wait_for(ours, 0)
    tell("reset: the first send", ours, b"hello\n")
    tell("reset: the second send", ours, b"hello\n")


def fill(ours: socket.socket) -> None:
    """Send until nothing fits any more, and go on until the kernel moves no more of it to the other side either."""
    while True:
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(MANY_BYTES))
        if not select.select([], [ours], [], SETTLING_SECONDS)[1]:
            break
    with contextlib.suppress(BlockingIOError):  # room for less than what poll calls writable
        while True:
            ours.send(bytes(MANY_BYTES))


def main() -> int:
    """Tell the story and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    argparse.ArgumentParser(description="Show what a non-blocking send says.").parse_args()
    show()
    return 0


if __name__ == "__main__":
    sys.exit(main())

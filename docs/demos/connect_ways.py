#!/usr/bin/env python3
"""Show what connect does, blocking and not, when somebody listens, when nobody does, and when no answer comes.

Real sockets over loopback; it ends by itself, after some three seconds of waiting for an answer that does not come.
Sources: connect(2), EINPROGRESS; socket(7), SO_ERROR; tcp(7), TCP_SYNCNT; Stevens UNP 16.3.
"""

import argparse
import contextlib
import errno
import select
import signal
import socket
import sys
import time

SHORT_MILLISECONDS = 200
MOST_CONNECTIONS = 10


def main() -> int:
    """Tell the story and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    argparse.ArgumentParser(description="Show what a connect does, blocking and not, in three situations.").parse_args()
    with contextlib.ExitStack() as stack:
        places = {
            "somebody listens": stack.enter_context(socket.create_server(("127.0.0.1", 0))),
            "nobody listens": stack.enter_context(socket.socket()),
            "no answer comes": stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0)),
        }
        places["nobody listens"].bind(("127.0.0.1", 0))
        fill_the_backlog(places["no answer comes"], stack)
        print("1. Blocking: connect waits until it is over")
        for name, place in places.items():
            show_blocking(name, place.getsockname())
        print("\n2. Non-blocking: connect returns at once, poll tells when it is over, and SO_ERROR how it went")
        for name, place in places.items():
            show_nonblocking(name, place.getsockname())
    return 0


def fill_the_backlog(listener: socket.socket, stack: contextlib.ExitStack) -> None:
    """Connect until the kernel answers no more, since nobody accepts: listen(2)."""
    for _ in range(MOST_CONNECTIONS):
        client = stack.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        if not events_of(client):
            return


def show_blocking(name: str, address: tuple[str, int]) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)  # asks once more only; else some two minutes
        began = time.monotonic()
        result = in_words(client.connect_ex(address))
        print(f"   {name:17} -> {result}, after {time.monotonic() - began:.1f} s")


def show_nonblocking(name: str, address: tuple[str, int]) -> None:
    with socket.socket() as client:
        client.setblocking(False)
        result = in_words(client.connect_ex(address))
        said = events_of(client)
        how = in_words(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) if said else "not asked, it is not over"
        said = said or f"nothing for {SHORT_MILLISECONDS} ms"
        print(f"   {name:17} -> {result}; poll says {said}; SO_ERROR: {how}")


def events_of(client: socket.socket) -> str:
    """What poll says of a socket that connects, asked for POLLOUT; empty when it says nothing."""
    poller = select.poll()
    poller.register(client, select.POLLOUT)
    said = dict(poller.poll(SHORT_MILLISECONDS)).get(client.fileno(), 0)
    return " ".join(name for name in ("POLLOUT", "POLLERR", "POLLHUP") if said & getattr(select, name))


def in_words(number: int) -> str:
    return errno.errorcode[number] if number else "0, connected"


if __name__ == "__main__":
    sys.exit(main())

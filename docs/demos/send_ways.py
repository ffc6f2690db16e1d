#!/usr/bin/env python3
"""Measure three ways to tell many clients what several have said: what it costs the one that sends.

Each of the first 16 of 400 connections has said one line; every client is to be sent the lines of the others. The
processor time of a round is measured, five times each way in turn; the medians are printed. It ends by itself.
Sources: send(2), sendmsg(2); memoryview in Python's documentation.
"""

import argparse
import os
import resource
import signal
import socket
import statistics
import sys
import time

SPEAKERS = 16
ROUNDS = 5
Lines = list[bytes]


def one_send_for_each_line(clients: list[socket.socket], lines: Lines) -> int:
    calls = 0
    for number, line in enumerate(lines):
        for place, client in enumerate(clients):
            if place != number:
                client.send(line)
                calls += 1
    return calls


def one_copy_for_each_client(clients: list[socket.socket], lines: Lines) -> int:
    for place, client in enumerate(clients):
        client.send(b"".join(line for number, line in enumerate(lines) if number != place))
    return len(clients)


def views_of_one_block(clients: list[socket.socket], lines: Lines) -> int:
    block, size = memoryview(b"".join(lines)), len(lines[0])
    for place, client in enumerate(clients):
        start = min(place * size, len(block))
        client.sendmsg([part for part in (block[:start], block[start + size :]) if part])
    return len(clients)


WAYS = {
    "a send for each line and client": one_send_for_each_line,
    "a send for each client, of its own copy": one_copy_for_each_client,
    "a sendmsg for each client, of views": views_of_one_block,
}


def connect(count: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """So many TCP connections: the server's ends and the clients'."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ours, theirs = [], []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(count):
            theirs.append(socket.create_connection(listener.getsockname()))
            ours.append(listener.accept()[0])
            ours[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


def drain(theirs: list[socket.socket], lines: Lines) -> None:
    """Have the clients read a round."""
    size = len(lines[0])
    for place, client in enumerate(theirs):
        left = size * (len(lines) - (place < len(lines)))
        while left:
            left -= len(client.recv(left))


def show(count: int, size: int) -> None:
    """Measure every way, in turn, and print the medians."""
    ours, theirs = connect(count)
    lines = [os.urandom(size - 1) + b"\n" for _ in range(SPEAKERS)]
    spent = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            began = time.process_time()
            calls = way(ours, lines)
            spent[name].append((1000 * (time.process_time() - began), calls))
            drain(theirs, lines)
    print(f"{SPEAKERS} lines of {size} bytes to {count} clients: processor time of the sender, medians of {ROUNDS}")
    for name, times in spent.items():
        print(f"   {name:40} {times[0][1]:6} calls {statistics.median(each for each, _ in times):7.1f} ms")


def number(least: int, most: int):
    """A type for the command line: a number between the two, or a complaint."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return read


def main() -> int:
    """Tell the story and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    parser = argparse.ArgumentParser(description="Measure three ways to tell many clients what several have said.")
    parser.add_argument("--clients", type=number(SPEAKERS, 5000), default=400, help="how many (default: 400)")
    parser.add_argument("--size", type=number(2, 4096), default=64, help="bytes of a line (default: 64)")
    options = parser.parse_args()
    try:
        show(options.clients, options.size)
    except OSError as error:
        sys.exit(f"send_ways.py: {options.clients} clients: {error.strerror}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Show how seldom poll says POLLOUT of a slow reader's connection, and how TCP_NOTSENT_LOWAT changes that.

Two connections, one with the option and one without, are sent all that they take, whenever poll says POLLOUT; two
processes read 100 kB/s from them. Then the pauses between two times of POLLOUT are printed. It ends by itself.
Sources: tcp(7), poll(2); the kernel's sk_stream_is_writeable wants a third of the send buffer to be free.
"""

import argparse
import os
import select
import signal
import socket
import sys
import time

READ_BYTES_PER_SECOND = 100_000
STEPS_PER_SECOND = 10
UNSENT_BYTES = 65536
CHUNK = bytes(1 << 20)
LEAST_PAUSE_SECONDS = 0.2  # what is shorter belongs to the same time of POLLOUT


def read_slowly(connection: socket.socket) -> None:
    """Be the reader, until the connection ends."""
    while connection.recv(READ_BYTES_PER_SECOND // STEPS_PER_SECOND):
        time.sleep(1 / STEPS_PER_SECOND)


def connection_with_a_slow_reader(listener: socket.socket) -> tuple[socket.socket, int]:
    """Our end of a connection to a child that reads slowly, and the child's pid."""
    theirs = socket.create_connection(listener.getsockname())
    ours, _ = listener.accept()
    pid = os.fork()
    if pid == 0:
        try:
            listener.close()
            ours.close()
            read_slowly(theirs)
        finally:
            os._exit(0)
    theirs.close()
    ours.setblocking(False)
    return ours, pid


def pauses(connections: list[socket.socket], seconds: float) -> list[list[float]]:
    """Send for so long all that each takes. For each, the pauses between two times of POLLOUT, in seconds."""
    poller, last, found = select.poll(), {}, {each.fileno(): [] for each in connections}
    end = time.monotonic() + seconds
    for each in connections:
        poller.register(each, select.POLLOUT)
    while (left := end - time.monotonic()) > 0:
        for fd, _ in poller.poll(left * 1000):
            now = time.monotonic()
            pause = now - last.setdefault(fd, now)
            if pause >= LEAST_PAUSE_SECONDS:
                found[fd].append(pause)
            last[fd] = now
            try:
                os.write(fd, CHUNK)
            except BlockingIOError:
                pass
    for fd, pauses_of_one in found.items():
        pauses_of_one.append(time.monotonic() - last.get(fd, end - seconds))  # it lasts still: a lower bound
    return list(found.values())


def show(seconds: float) -> None:
    """Measure both ways at the same time, and print the pauses."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = [connection_with_a_slow_reader(listener) for _ in range(2)]
    (plain, _), (bounded, _) = made
    bounded.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    print(f"two readers of {READ_BYTES_PER_SECOND // 1000} kB/s; the pauses of {seconds:g} s, in seconds")
    names = ("the kernel's default", f"TCP_NOTSENT_LOWAT {UNSENT_BYTES}")
    for name, found in zip(names, pauses([plain, bounded], seconds), strict=True):
        *whole, last = (f"{pause:.1f}" for pause in found)
        print(f"   {name:24} ", *whole, f"({last}, and not over)")
    for connection, pid in made:
        connection.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def duration(text: str) -> float:
    """Return the seconds given on the command line, or complain."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time from 1 to 60 s")
    return seconds


def main() -> int:
    """Tell the story and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    parser = argparse.ArgumentParser(
        description="Show how seldom poll says POLLOUT of a slow reader, without and with TCP_NOTSENT_LOWAT."
    )
    parser.add_argument("--seconds", type=duration, default=10.0, help="how long to measure (default: 10)")
    show(parser.parse_args().seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())

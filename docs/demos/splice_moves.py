#!/usr/bin/env python3
"""Show what splice does from a pipe to a TCP connection: pages, refusals, short moves, late lines, speed.

Real files, pipes and sockets over loopback; it ends by itself. Sources: splice(2), pipe(7), tcp(7) on TCP_CORK.
"""

import argparse
import contextlib
import errno
import os
import resource
import select
import signal
import socket
import statistics
import sys
import tempfile
import time

PIPE_BYTES = 65536  # what a pipe holds: pipe(7)
LINE = b"hello\n"
LINES = 5
SIZES = (64, 4096, 65536)
ROUNDS = 5
ROUND_SECONDS = 0.2
MEGABYTE = 1e6
SETTLING_MILLISECONDS = 50  # the receiving side's buffer grows for a moment after the sender's is full


def main() -> int:
    """Tell the parts that are asked for and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    parser = argparse.ArgumentParser(description="Show what splice does on the way from a pipe to a TCP connection.")
    parser.add_argument("--part", choices=PARTS, help="one part alone: pages, refusals, short, more, speed")
    chosen = parser.parse_args().part
    for name, show in PARTS.items():
        if chosen in (None, name):
            print(show.__doc__)
            show()
    return 0


def show_pages() -> None:
    """A file's bytes go into a pipe, then the file is overwritten, then the pipe is read"""
    for name, flags in (("splice", 0), ("splice, SPLICE_F_MOVE", os.SPLICE_F_MOVE), ("read and write", None)):
        reader, writer = os.pipe()
        with open(reader, "rb"), open(writer, "wb"), tempfile.TemporaryFile(buffering=0) as file:
            file.write(b"old")
            if flags is None:
                os.write(writer, os.pread(file.fileno(), 3, 0))
            else:
                os.splice(file.fileno(), writer, 3, offset_src=0, flags=flags)
            os.pwrite(file.fileno(), b"new", 0)
            print(f"   {name:22} {os.read(reader, 3)!r}")


def show_refusals() -> None:
    """What splice takes from, into a pipe"""
    with tempfile.TemporaryFile() as file, connection() as (ours, theirs):
        file.write(LINE)
        file.seek(0)
        theirs.sendall(LINE)
        sources = {"a file": file.fileno(), "a socket": ours.fileno(), "/dev/null": os.open(os.devnull, os.O_RDONLY)}
        sources["/proc/self/limits"] = os.open("/proc/self/limits", os.O_RDONLY)
        for name, source in sources.items():
            print(f"   from {name:20} {try_splice(source)}")


def try_splice(source: int) -> str:
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "wb"):
        try:
            return f"{os.splice(source, writer, len(LINE))} bytes"
        except OSError as error:
            return f"{errno.errorcode[error.errno]}: {error.strerror}"


def show_short() -> None:
    """A pipe full, into a connection that nobody reads"""
    reader, writer = os.pipe()
    with connection() as (ours, theirs):
        ours.setblocking(False)
        left = 0
        while writable(ours, SETTLING_MILLISECONDS):
            with contextlib.suppress(BlockingIOError):
                while True:
                    left = left or os.write(writer, bytes(PIPE_BYTES))
                    moved = os.splice(reader, ours.fileno(), left)
                    left -= moved
        print(f"   the last splice moved {moved} bytes, the next one says EAGAIN")
        print(f"   {left} bytes of {PIPE_BYTES} are left in the pipe; POLLOUT: {writable(ours, 0)}")
        theirs.setblocking(False)
        while not writable(ours, 0):
            with contextlib.suppress(BlockingIOError):
                theirs.recv(1 << 20)
        print(f"   the other side has read; POLLOUT: {writable(ours, 0)}; splice moves what was left:", end=" ")
        while left:
            with contextlib.suppress(BlockingIOError):
                left -= os.splice(reader, ours.fileno(), left)
            with contextlib.suppress(BlockingIOError):
                theirs.recv(1 << 20)
        print(f"{left} bytes are left")


def writable(end: socket.socket, milliseconds: int) -> bool:
    poller = select.poll()
    poller.register(end, select.POLLOUT)
    return bool(poller.poll(milliseconds))


def show_more() -> None:
    """How long a typed line is on its way, in milliseconds"""
    for name, flags in (("without SPLICE_F_MORE", 0), ("with SPLICE_F_MORE", os.SPLICE_F_MORE)):
        print(f"   {name:22}", *(f"{delay:7.2f}" for delay in line_delays(flags)))


def line_delays(flags: int) -> list[float]:
    """Milliseconds from the splice of a line to its arrival, line after line."""
    reader, writer = os.pipe()
    delays = []
    with connection() as (ours, theirs):
        for _ in range(LINES):
            os.write(writer, LINE)
            began = time.monotonic()
            os.splice(reader, ours.fileno(), len(LINE), flags=flags)
            theirs.recv(len(LINE))
            delays.append((time.monotonic() - began) * 1000)
    return delays


def show_speed() -> None:
    """Splice, and read and send, by the size of the pieces: megabytes a second, and processor time for a megabyte"""
    print("   bytes a piece   splice: MB/s   ms/MB   read + send: MB/s   ms/MB")
    for size in SIZES:
        rounds = [(measure(size, by_splice), measure(size, by_read_and_send)) for _ in range(ROUNDS)]
        columns = [column for way in zip(*rounds, strict=True) for column in zip(*way, strict=True)]
        speed, cost, other_speed, other_cost = map(statistics.median, columns)
        print(f"   {size:13} {speed:14.0f} {cost:7.2f} {other_speed:19.0f} {other_cost:7.2f}")


def measure(size: int, move) -> tuple[float, float]:
    """Move pieces from a writing process to a receiving one for a while: MB per second, processor ms per MB."""
    reader, writer = os.pipe()
    with connection() as (ours, theirs):
        helpers = [in_child(lambda: write_for_ever(writer, size), reader, ours.fileno(), theirs.fileno()),
                   in_child(lambda: read_for_ever(theirs), reader, writer, ours.fileno())]  # fmt: skip
        mover = move(reader, ours, size)
        began, used, moved = time.monotonic(), processor_seconds(), 0
        while (seconds := time.monotonic() - began) < ROUND_SECONDS:
            moved += next(mover)
        cost = (processor_seconds() - used) * 1000
        for pid in helpers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    for descriptor in (reader, writer):
        os.close(descriptor)
    return moved / MEGABYTE / seconds, cost / (moved / MEGABYTE)


def by_splice(source: int, sock: socket.socket, size: int):
    """Move a piece at each turn, as the chat's client does: into a pipe, and from there into the connection."""
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "wb"):
        while True:
            left = moved = os.splice(source, writer, size)
            while left:
                left -= os.splice(reader, sock.fileno(), left)
            yield moved


def by_read_and_send(source: int, sock: socket.socket, size: int):
    while True:
        data = os.read(source, size)
        sock.sendall(data)
        yield len(data)


def in_child(work, *not_its_own: int) -> int:
    """Run work in a child that ends when this process does: its pipe or its connection breaks. Returns the pid."""
    pid = os.fork()
    if pid == 0:
        try:
            for descriptor in not_its_own:
                os.close(descriptor)
            work()
        finally:
            os._exit(0)
    return pid


def write_for_ever(writer: int, size: int) -> None:
    piece = bytes(size)
    while True:
        os.write(writer, piece)


def read_for_ever(end: socket.socket) -> None:
    buffer = bytearray(1 << 20)
    while end.recv_into(buffer):
        pass


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def connection():
    """A TCP connection's two ends, and their end; no line waits for an acknowledgement (TCP_NODELAY)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs = listener.accept()[0]
    with ours, theirs:
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield ours, theirs


PARTS = {"pages": show_pages, "refusals": show_refusals, "short": show_short, "more": show_more, "speed": show_speed}

if __name__ == "__main__":
    sys.exit(main())

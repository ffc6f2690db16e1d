#!/usr/bin/env python3
"""Show that fork does not copy a process's memory at once: pages are shared until one of the two writes to them.

The parent fills some memory and forks; /proc/PID/smaps_rollup then tells how much of the child's memory is its own,
before and after the child writes. It ends by itself. Sources: fork(2) "copy-on-write pages", proc(5), Kerrisk TLPI 24.
"""

import argparse
import mmap
import os
import signal
import sys

MEBIBYTE = 1 << 20
DEFAULT_MEBIBYTES = 32


def private_mebibytes(pid: int) -> float:
    """Return how much memory of process `pid` no other process shares, in MiB."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        kibibytes = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
    return kibibytes / 1024


def write_every_page(memory: mmap.mmap, value: int) -> None:
    """Write one byte into each page of `memory`."""
    for place in range(0, len(memory), mmap.PAGESIZE):
        memory[place] = value


def live_as_child(memory: mmap.mmap, orders: int, reports: int) -> None:
    """Wait for the order to write, write, report the byte seen, and wait until the orders end."""
    os.read(orders, 1)
    write_every_page(memory, 2)
    os.write(reports, bytes([memory[0]]))
    os.read(orders, 1)


def show(mebibytes: int) -> None:
    """Fork, and print the child's own memory before and after it writes."""
    memory = mmap.mmap(-1, mebibytes * MEBIBYTE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    write_every_page(memory, 1)
    orders_reader, orders_writer = os.pipe()
    reports_reader, reports_writer = os.pipe()
    print(f"the parent has written {mebibytes} MiB, and forks", flush=True)
    pid = os.fork()
    if pid == 0:
        os.close(orders_writer)
        live_as_child(memory, orders_reader, reports_writer)
        os._exit(0)
    os.close(reports_writer)
    print(f"the child's own memory after fork:            {private_mebibytes(pid):6.1f} MiB")
    os.write(orders_writer, b"w")
    seen = os.read(reports_reader, 1)[0]
    print(f"the child's own memory after it has written:  {private_mebibytes(pid):6.1f} MiB")
    print(f"the first byte: {seen} in the child, {memory[0]} in the parent, as if all had been copied at fork")
    os.close(orders_writer)
    os.waitpid(pid, 0)


def size(text: str) -> int:
    """Return the size given on the command line, in MiB, or complain."""
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size from 1 to 1024 MiB")
    return int(text)


def main() -> int:
    """Tell the story and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    parser = argparse.ArgumentParser(
        description="Show copy on write: after fork the child shares the parent's memory, until it writes to it."
    )
    parser.add_argument(
        "--size", type=size, default=DEFAULT_MEBIBYTES, help="memory to write before the fork, in MiB (default: 32)"
    )
    show(parser.parse_args().size)
    return 0


if __name__ == "__main__":
    sys.exit(main())

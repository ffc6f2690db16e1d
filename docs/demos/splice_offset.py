#!/usr/bin/env python3
"""Show the offsets of splice: a file may be read or written at a given place, a pipe may not.

Real files, pipes and sockets, each step printed; it ends by itself. The chat's client gives no offsets (a terminal and
a socket have none), so this is the only place of the course that does. Sources: splice(2), Kerrisk TLPI 61.
"""

import argparse
import errno
import os
import signal
import socket
import sys
import tempfile

TEXT = b"0123456789abcdefghij"


def position(descriptor: int) -> int:
    """Return the position of an open file, in bytes: where the next plain read or write starts."""
    return os.lseek(descriptor, 0, os.SEEK_CUR)


def try_splice(source: int, target: int, count: int, **offsets: int) -> str:
    """Splice and return how many bytes moved, or the error's name and words."""
    try:
        return f"{os.splice(source, target, count, **offsets)} bytes"
    except OSError as error:
        return f"{errno.errorcode[error.errno]}: {error.strerror}"


def show_reading(file: int, reader: int, writer: int) -> None:
    """Splice from a file into a pipe, with an offset and without."""
    print(f"1. From a file that holds {TEXT.decode()!r} into a pipe")
    print("   the file's position               ->", position(file))
    moved = try_splice(file, writer, 4, offset_src=10)
    print(f"   splice 4 from offset 10           -> {moved}, {os.read(reader, 100)!r}")
    print("   the file's position               ->", position(file), "(left alone)")
    moved = try_splice(file, writer, 4)
    print(f"   splice 4, no offset               -> {moved}, {os.read(reader, 100)!r}")
    print("   the file's position               ->", position(file), "(moved)")


def show_writing(file: int, reader: int, writer: int) -> None:
    """Splice from a pipe into a file, with an offset."""
    print("\n2. From a pipe into the file, at offset 15")
    os.write(writer, b"XYZ")
    print("   splice 3 to offset 15             ->", try_splice(reader, file, 3, offset_dst=15))
    print("   the file's position               ->", position(file), "(left alone)")
    print("   the file holds                    ->", os.pread(file, 100, 0))


def show_refusals(file: int, reader: int, writer: int) -> None:
    """Splice as splice(2) forbids, and print the kernel's answer."""
    print("\n3. What the kernel refuses")
    os.write(writer, b"XYZ")
    print("   from a pipe with an offset        ->", try_splice(reader, file, 3, offset_src=0))
    print("   to a pipe with an offset          ->", try_splice(file, writer, 3, offset_dst=0))
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"hello")
        print("   from a socket with an offset      ->", try_splice(right.fileno(), writer, 5, offset_src=0))
        print("   from a socket without one         ->", try_splice(right.fileno(), writer, 5))
        left.sendall(b"hello")
        print("   from a socket to a file, no pipe  ->", try_splice(right.fileno(), file, 5))
    print("   So an offset is for what has places: a file. And one of the two ends must be a pipe.")


def main() -> int:
    """Tell the story and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    argparse.ArgumentParser(
        description="Show the offsets of splice: a file is read or written at a place, a pipe has none (ESPIPE)."
    ).parse_args()
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as scratch:
        file = scratch.fileno()
        os.pwrite(file, TEXT, 0)
        show_reading(file, reader, writer)
        show_writing(file, reader, writer)
        show_refusals(file, reader, writer)
    os.close(reader)
    os.close(writer)
    return 0


if __name__ == "__main__":
    sys.exit(main())

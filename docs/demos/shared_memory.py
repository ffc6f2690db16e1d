#!/usr/bin/env python3
"""Show what goes wrong when processes share memory, and how it does not: real processes, an anonymous mmap.

    python docs/demos/shared_memory.py --part step-by-step

It ends by itself. Sources: mmap(2); struct and memoryview in Python's documentation; Kerrisk, 30.1 (lost updates).
"""

import argparse
import contextlib
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator

COUNT = 200_000
SECONDS = 1.0
LIMIT_SECONDS = 20.0
LINE_WORDS = 8  # a cache line has 64 bytes; a word has 8
MESSAGE_BYTES = 1000
BEGUN, DONE = 0, LINE_WORDS  # where the numbers are: what the writer has begun, and what it has done
LOW, HIGH = 1, 2**64 - 1  # the writer stores nothing else


def shared_words(count: int) -> memoryview:
    """So many words of 8 bytes that children will share, all 0."""
    return memoryview(mmap.mmap(-1, 8 * count)).cast("Q")


@contextlib.contextmanager
def child(work: Callable, *arguments) -> Iterator[int]:
    """A child that does the work; at the end of the block it is ended and waited for."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def step_by_step() -> None:
    """One adds 1 while the other one stands between its load and its store."""
    words = shared_words(1)

    def add_slowly() -> None:
        value = words[0]
        os.kill(os.getpid(), signal.SIGSTOP)
        words[0] = value + 1

    print("counter += 1 is a load, an addition and a store; the counter is 0")
    with child(add_slowly) as pid:
        os.waitpid(pid, os.WUNTRACED)
        print(f"   A loads {words[0]}, and is stopped")
        words[0] += 1
        print(f"   B adds 1: the counter is {words[0]}")
        os.kill(pid, signal.SIGCONT)
        os.waitpid(pid, 0)
        print(f"   A goes on, and stores what it has: the counter is {words[0]}")


def add(words: memoryview, place: int) -> None:
    for _ in range(COUNT):
        words[place] += 1


def at_once() -> None:
    """Two processes add at the same time: to one word, and to a word each."""
    print(f"two processes add 1, {COUNT} times each")
    for way, places in (("to one counter", (0, 0)), ("to one each, and the sum is taken", (0, LINE_WORDS))):
        words = shared_words(2 * LINE_WORDS)
        with child(add, words, places[0]) as first, child(add, words, places[1]) as second:
            os.waitpid(first, 0)
            os.waitpid(second, 0)
        print(f"   {way:36} {words[0] + words[LINE_WORDS]}")


def pack_into() -> None:
    """One process stores two values in turn; the other one reads, and counts what was never stored."""
    words = shared_words(1)

    def by_pack_into() -> None:
        while True:
            struct.pack_into("<Q", words.obj, 0, LOW)
            struct.pack_into("<Q", words.obj, 0, HIGH)

    def by_memoryview() -> None:
        while True:
            words[0] = LOW
            words[0] = HIGH

    print(f"a writer stores {LOW} and 2**64 - 1 in turn; a reader reads for a second")
    for name, write in (("struct.pack_into", by_pack_into), ('memoryview.cast("Q")', by_memoryview)):
        words[0] = LOW
        with child(write):
            reads, never_stored = read(words, patient=write is by_pack_into)
        print(f"   {name:22} {reads} reads, {never_stored} of them neither")


def read(words: memoryview, patient: bool) -> tuple[int, int]:
    """Read for a second, or, when patient, until something was seen. How many reads, and how many of them odd."""
    began, reads, never_stored = time.monotonic(), 0, 0
    while True:
        for _ in range(1000):
            value = words[0]
            never_stored += value not in (LOW, HIGH)
        reads += 1000
        passed = time.monotonic() - began
        if passed > LIMIT_SECONDS or passed > SECONDS and (never_stored or not patient):
            return reads, never_stored


def torn() -> None:
    """One process writes a message over the last one, again and again; the other one copies it."""
    memory = mmap.mmap(-1, 8 * 2 * LINE_WORDS + MESSAGE_BYTES)
    words, message = memoryview(memory)[: 8 * 2 * LINE_WORDS].cast("Q"), memoryview(memory)[-MESSAGE_BYTES:]
    messages = [letter * MESSAGE_BYTES for letter in (b"a", b"b")]
    message[:] = messages[0]

    def write() -> None:
        number = 0
        while True:
            number += 1
            words[BEGUN] = number
            message[:] = messages[number % 2]
            words[DONE] = number

    print(
        f"a writer writes {MESSAGE_BYTES} times a, then b, and so on, to one place; a reader copies them for a second"
    )
    with child(write):
        for name, numbered in (("as they are", False), ("with a number before and after", True)):
            copies, found, thrown_away = copy(words, message, messages, numbered)
            print(f"   {name:32} {copies} copies, {found} of them mixed, {thrown_away} thrown away")


def copy(words: memoryview, message: memoryview, messages: list[bytes], numbered: bool) -> tuple[int, int, int]:
    """Copy for a second, or until something was seen. Copies, those that were kept and mixed, those thrown away."""
    began, copies, mixed, thrown_away = time.monotonic(), 0, 0, 0
    while True:
        done = words[DONE]
        copied = bytes(message)
        if numbered and words[BEGUN] != done:
            thrown_away += 1
        else:
            mixed += copied not in messages
        copies += 1
        passed = time.monotonic() - began
        if passed > LIMIT_SECONDS or passed > SECONDS and (mixed or thrown_away):
            return copies, mixed, thrown_away


PARTS = {"step-by-step": step_by_step, "at-once": at_once, "pack-into": pack_into, "torn": torn}


def main() -> int:
    """Tell the story, or one part of it, and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    parser = argparse.ArgumentParser(description="Show what goes wrong when processes share memory.")
    parser.add_argument("--part", choices=PARTS, help="one part only")
    part = parser.parse_args().part
    for each in [part] if part else PARTS:
        PARTS[each]()
    return 0


if __name__ == "__main__":
    sys.exit(main())

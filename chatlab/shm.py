"""The shared memory of a running server of lab 05, read from outside: nothing is asked of the server itself.

A process's memory is a file, /proc/PID/mem, and /proc/PID/maps says what lies where: proc_pid_mem(5), proc_pid_maps(5).
Reading takes the rights of a debugger, which a process has over its own descendants: ptrace(2), "Ptrace access mode
checking". What lies where in the memory is the layout of labs/05_epoll_fork_shm/shared_log.py, whose head says who
writes which field; tests/kit/test_shm.py holds this module against that one.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from dataclasses import dataclass
from types import TracebackType

LINE_BYTES = 64  # a cache line: what one process writes of a slot lies in one of its own
HEAD_LINES = 2  # the number of entries ordered, the number of entries freed
NEVER = 2**64 - 1  # the cursor of a slot that reads nothing
ENTRY = struct.Struct("@4Q")
ENTRIES = 65536  # in the server's log
# How the kernel names an anonymous mapping that is shared: proc_pid_maps(5) shows what backs it, a deleted /dev/zero.
_ANONYMOUS_SHARED = "/dev/zero (deleted)"


class ShmError(Exception):
    """The memory cannot be read; str() is one clear line."""


@dataclass(frozen=True)
class Slot:
    """The fields of one slot. freed, said: positions in its ring, in bytes. cursor: entries; None: it reads none.

    arrived: bytes that had come to its client's side when the child looked last.
    """

    freed: int
    said: int
    cursor: int | None
    arrived: int

    @property
    def held(self) -> int:
        """Bytes of whole lines in its ring that may not be written over yet."""
        return self.said - self.freed


@dataclass(frozen=True)
class Look:
    """All fields, as they were when they were read. time: unix time, s. ordered, freed: numbers of entries.

    The server goes on while it is looked at: each field is whole, but two of them may be of two moments.
    """

    time: float
    ordered: int
    freed: int
    slots: tuple[Slot, ...]

    @property
    def readers(self) -> list[int]:
        """The slots whose child reads."""
        return [number for number, slot in enumerate(self.slots) if slot.cursor is not None]


@dataclass(frozen=True)
class Entry:
    """An entry of the log: `length` bytes of a slot's ring, at a position."""

    number: int
    slot: int
    position: int
    length: int


class SharedMemory:
    """The memory of a server that runs; use it in a `with` block.

    Arguments: pid, of the parent or of any child; slots, its --max-clients; ring_bytes, its --queue-bytes; entries, in
    its log. Raises ShmError when the process has no such memory, or may not be looked at.
    """

    def __init__(self, pid: int, slots: int, ring_bytes: int, entries: int = ENTRIES):
        self.pid, self.slots, self.ring_bytes, self.entries = pid, slots, ring_bytes, entries
        self._log = (HEAD_LINES + 2 * slots) * LINE_BYTES
        self._rings = self._log + entries * ENTRY.size
        try:
            self._start = self._find(self._rings + slots * ring_bytes)
            self._file = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        except OSError as error:
            raise ShmError(f"the memory of process {pid} cannot be read: {error.strerror}") from None

    def __enter__(self) -> SharedMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        os.close(self._file)

    def look(self) -> Look:
        """All fields, now. Raises ShmError."""
        fields = struct.unpack(f"@{self._log // 8}Q", self._read(0, self._log))
        lines = [fields[start : start + 3] for start in range(0, len(fields), LINE_BYTES // 8)]
        parents, childs = lines[HEAD_LINES : HEAD_LINES + self.slots], lines[HEAD_LINES + self.slots :]
        slots = (
            Slot(freed, said, None if cursor == NEVER else cursor, arrived)
            for (freed, *_), (said, cursor, arrived) in zip(parents, childs, strict=True)
        )
        return Look(time.time(), lines[0][0], lines[1][0], tuple(slots))

    def entry(self, number: int) -> Entry:
        """The log's entry of this number, or what took its place since, as its own number says. Raises ShmError."""
        place = self._log + number % self.entries * ENTRY.size
        return Entry(*ENTRY.unpack(self._read(place, ENTRY.size)))

    def said(self, slot: int, position: int, length: int) -> bytes:
        """So many bytes of a slot's ring, at a position; they may lie around its end. Raises ShmError."""
        offset = position % self.ring_bytes
        ring, first = self._rings + slot * self.ring_bytes, min(length, self.ring_bytes - offset)
        return self._read(ring + offset, first) + self._read(ring, length - first)

    def _find(self, size: int) -> int:
        """Where the mapping begins, by its size: the kernel rounds it up to whole pages."""
        whole = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        with open(f"/proc/{self.pid}/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                if line.rstrip().endswith(_ANONYMOUS_SHARED):
                    start, end = (int(number, 16) for number in line.split()[0].split("-"))
                    if end - start == whole:
                        return start
        raise ShmError(
            f"process {self.pid} has no shared memory of {size} bytes: is it a server of lab 05, with --max-clients"
            f" {self.slots} and --queue-bytes {self.ring_bytes}?"
        )

    def _read(self, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._file, size, self._start + offset)
        except OSError as error:
            raise ShmError(f"the memory of process {self.pid} cannot be read: {error.strerror}") from None
        if len(data) < size:
            raise ShmError(f"the memory of process {self.pid} cannot be read: it has ended")
        return data

"""A shared memory for a room: each client's process writes what its client says once, and all others read it there.

Every client has a slot, with a ring of bytes. Its process, the child, receives straight into it. The parent keeps the
log: entry g says "the next bytes for everybody are these of that ring". So all see one order of lines, and what is
copied from one process to another is nothing. Positions in a ring and numbers of entries only grow, and are never
reset: who takes a slot over goes on where the last one stopped, and its bytes cannot be taken for the other's.

Who writes which field; what one process writes of a slot lies in a cache line of 64 bytes of its own:

    ORDERED   the parent  so many entries are in the log
    FREED     the parent  so many entries have been read by everybody
    freed     the parent  for each slot: the ring may be written again up to this position, and a whole ring beyond
    said      its child   for each slot: the ring holds whole lines up to this position
    cursor    its child   for each slot: so many entries it has read, and sent to its client; NEVER: it reads none
    arrived   its child   for each slot: bytes that have come to its client's side, a sign of life
    entry g   the parent  number g, slot, position and length, at place g modulo the log's size
    ring      its child   for each slot: the bytes

While a slot has no child the parent writes the child's fields: before the fork, and after waitpid. So no field has two
writers, and none is ever added to by two processes. The parent frees entries only behind the cursors of all the living,
and a child that is in the way is first killed and waited for: nothing is overwritten while somebody may read it. The
numbers are there to show it: a reader holds them against what it expects before and after it uses the bytes.

The order of stores. A field is eight aligned bytes, written by one store and read by one load: memoryview.cast("Q") and
struct's native "Q" copy them whole, while struct.pack_into may clear them first. The bytes are stored before the field
that says so: ring before `said`, entry before ORDERED, FREED before `freed`. x86-64 keeps the order of stores, and of
loads (Intel SDM 3A, 8.2.2), and so it was tested. A machine that does not, such as arm64, was not: there the doorbell
that follows, a send and a recv, still orders all that was stored before it, but not what a reader finds ahead of it.

Sources: mmap(2); Kerrisk, The Linux Programming Interface, 49.7; Lamport, Proving the Correctness of Multiprocess
Programs (1977), for one writer and one reader of a ring.
"""

import mmap
import struct

LINE_WORDS = 8  # a cache line has 64 bytes; a word has 8
NEVER = 2**64 - 1
ENTRY = struct.Struct("@4Q")  # number, slot, position, length
ENTRY_WORDS = 4
MAP_NORESERVE = 0x4000  # of <sys/mman.h>, mmap(2): memory is promised when it is touched, not all of it at once
AT_ONCE = 1024  # IOV_MAX: buffers for one sendmsg
LINE_BYTES = 65536  # the longest line, its newline included; a ring holds two


class Overrun(Exception):
    """Bytes were written over before they were read: they must not be used."""


class SharedLog:
    """The memory, and the parent's side of it. Make it before the first fork: it has no name, and none can outlive it.

    Arguments: slots, how many clients at a time; ring_bytes for each of them; entries in the log.
    """

    def __init__(self, slots: int, ring_bytes: int, entries: int = 65536):
        self.slots, self.ring_bytes, self.entries = slots, ring_bytes, entries
        self._parents, self._childs = 2 * LINE_WORDS, (2 + slots) * LINE_WORDS
        self._log = (2 + 2 * slots) * LINE_WORDS
        self._rings = (self._log + entries * ENTRY_WORDS) * 8
        size = self._rings + slots * ring_bytes  # most of it is never touched, and takes no memory then
        self.memory = mmap.mmap(-1, size, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        self.bytes = memoryview(self.memory)
        self.words = self.bytes[: self._rings].cast("Q")
        self._gathered = [0] * slots  # a position for each slot
        self._ordered = 0
        self.cursors = [NEVER] * slots  # as `free` has seen them
        self.crowded = False  # is it time to look for what all have read?
        for slot in range(slots):
            self.words[self.cursor(slot)] = NEVER

    # Where the fields are.

    ORDERED, FREED = 0, LINE_WORDS

    def freed(self, slot: int) -> int:
        return self._parents + slot * LINE_WORDS

    def said(self, slot: int) -> int:
        return self._childs + slot * LINE_WORDS

    def cursor(self, slot: int) -> int:
        return self._childs + slot * LINE_WORDS + 1

    def arrived(self, slot: int) -> int:
        return self._childs + slot * LINE_WORDS + 2

    def place(self, number: int) -> int:
        return self._log + number % self.entries * ENTRY_WORDS

    def ring(self, slot: int) -> int:
        """Where the slot's ring begins, in bytes."""
        return self._rings + slot * self.ring_bytes

    def read_entries(self, first: int, end: int) -> list[tuple[int, int, int, int]]:
        """Entries first … end, but only up to where the log begins again."""
        count = min(end - first, AT_ONCE, self.entries - first % self.entries)
        start = self.place(first) * 8
        return list(ENTRY.iter_unpack(self.bytes[start : start + count * ENTRY.size]))

    # What the parent does.

    def enter(self, slot: int) -> None:
        """A slot gets a child: it will read what is gathered from now on."""
        self.words[self.arrived(slot)] = 0
        self.words[self.cursor(slot)] = self._ordered

    def leave(self, slot: int) -> None:
        """A slot has no child any more: it was waited for, or never made. Nobody waits for what it has not read."""
        self.words[self.cursor(slot)] = NEVER

    def gather(self, slot: int) -> bool:
        """Enter into the log what the slot has said and nobody knows of yet. False: the log is full, some is left."""
        said, start = self.words[self.said(slot)], self._gathered[slot]
        while start < said:
            if self._ordered - self.words[self.FREED] == self.entries:
                self.crowded = True
                return False
            end = min(said, start - start % self.ring_bytes + self.ring_bytes)
            place = self.place(self._ordered)
            self.words[place + 1], self.words[place + 2], self.words[place + 3] = slot, start, end - start
            self.words[place] = self._ordered
            self._ordered += 1
            start = self._gathered[slot] = end
        in_ring, in_log = said - self.words[self.freed(slot)], self._ordered - self.words[self.FREED]
        self.crowded |= in_ring > self.ring_bytes // 2 or in_log > self.entries // 2
        return True

    def publish(self) -> bool:
        """Let everybody see what was gathered; whether there was anything."""
        news = self._ordered > self.words[self.ORDERED]
        self.words[self.ORDERED] = self._ordered
        return news

    def free(self) -> None:
        """Give all that everybody has read back to those who write."""
        self.cursors = self.words[self.cursor(0) : self.cursor(self.slots) : LINE_WORDS].tolist()
        first, ordered = self.words[self.FREED], self.words[self.ORDERED]
        self.words[self.FREED] = end = min([ordered, *self.cursors])
        self._give_back(first, end)
        last = self.cursors.index(min(self.cursors))
        if self.room(last) < self.ring_bytes // 2:  # the last of the readers has no use for what it said itself
            others = self.cursors[:last] + self.cursors[last + 1 :]
            self._give_back(end, min([ordered, *others]), last)
        self.crowded = False

    def _give_back(self, first: int, end: int, only: int | None = None) -> None:
        """Give back the bytes of entries first … end: all of them, or only those of one slot."""
        freed = {}
        while first < end:
            entries = self.read_entries(first, end)
            freed.update((slot, position + length) for _, slot, position, length in entries)
            first += len(entries)
        for slot, position in freed.items():
            if only in (None, slot):
                self.words[self.freed(slot)] = max(position, self.words[self.freed(slot)])

    def progress(self, slot: int) -> tuple[int, int] | None:
        """How far the slot's child had read when `free` looked, in entries, and in bytes now; None: all that there is.

        What it has read since then is not given back yet: it is to be asked, so that its answer makes us look again.
        """
        cursor = self.cursors[slot]
        return (cursor, self.words[self.arrived(slot)]) if cursor < self.words[self.ORDERED] else None

    def room(self, slot: int) -> int:
        """How many bytes the slot's child may still write, beyond the whole lines that it has said."""
        return self.words[self.freed(slot)] + self.ring_bytes - self.words[self.said(slot)]


class Writer:
    """A slot's ring, for its child: receive into `space()`, then `add` what came."""

    def __init__(self, log: SharedLog, slot: int):
        self.log, self.words = log, log.words
        self._ring, self._said, self._freed = log.ring(slot), log.said(slot), log.freed(slot)
        self.said = self.received = self.words[self._said]  # positions; between them lies a line that has no end yet

    def space(self) -> memoryview:
        """Where to receive: the next free bytes that lie side by side. The last one is kept for a newline."""
        free = self.words[self._freed] + self.log.ring_bytes - self.received - 1
        offset = self.received % self.log.ring_bytes
        start = self._ring + offset
        return self.log.bytes[start : start + max(0, min(LINE_BYTES, free, self.log.ring_bytes - offset))]

    def add(self, count: int) -> bool:
        """Let the parent see the lines that the next `count` bytes end. False, and nothing: the first is too long."""
        start = self._ring + self.received % self.log.ring_bytes
        first = self.log.memory.find(b"\n", start, start + count)
        if self.received - self.said + (count if first < 0 else first - start) + 1 > LINE_BYTES:
            return False
        self.received += count
        if first >= 0:
            last = self.log.memory.rfind(b"\n", start, start + count)
            self.publish(self.received - (start + count - last - 1))
        return True

    def complete(self) -> None:
        """End the line that has no end."""
        if self.received > self.said:
            self.log.memory[self._ring + self.received % self.log.ring_bytes] = ord("\n")
            self.received += 1
            self.publish(self.received)

    def publish(self, position: int) -> None:
        self.words[self._said] = self.said = position


class Reader:
    """A child's way through the log: `take` views of what the others said, send them, tell `done` how far it got."""

    def __init__(self, log: SharedLog, slot: int):
        self.log, self.words, self.slot = log, log.words, slot
        self._cursor, self._arrived = log.cursor(slot), log.arrived(slot)
        self.taken = self.cursor = self.words[self._cursor]  # entries
        self.sent = 0  # bytes
        self.views: list[memoryview] = []
        self._ends: list[int] = []  # for each view: entries that are done with once it is sent

    def take(self) -> bool:
        """When all views are sent, take the next. Whether there are any. Raises Overrun."""
        while not self.views and self.taken < self.words[self.log.ORDERED]:
            for number, slot, position, length in self.log.read_entries(self.taken, self.words[self.log.ORDERED]):
                if number != self.taken:
                    raise Overrun(f"entry {self.taken} of the log is entry {number} already")
                self.taken += 1
                if slot != self.slot:
                    start = self.log.ring(slot) + position % self.log.ring_bytes
                    self.views.append(self.log.bytes[start : start + length])
                    self._ends.append(self.taken)
            if not self.views:
                self._move(self.taken)
        return bool(self.views)

    def done(self, count: int) -> None:
        """The connection has taken `count` bytes of the views. Raises Overrun: were these the right ones?"""
        self.sent += count
        whole = 0
        while whole < len(self.views) and count >= len(self.views[whole]):
            count -= len(self.views[whole])
            whole += 1
        end = self.taken if whole == len(self.views) else self._ends[whole - 1] if whole else self.cursor
        del self.views[:whole], self._ends[:whole]
        if count:
            self.views[0] = self.views[0][count:]
        self._move(end)

    def _move(self, cursor: int) -> None:
        if self.words[self.log.FREED] > self.cursor:
            raise Overrun(f"entry {self.cursor} was given back while it was being read")
        if cursor > self.cursor:
            self.words[self._cursor] = self.cursor = cursor

    def arrived(self, unsent: int) -> None:
        """Let the parent see how many bytes have come to the client's side; `unsent` of them are still on our side."""
        self.words[self._arrived] = max(0, self.sent - unsent)

    def leave(self) -> None:
        """Read no more, and hold nobody up."""
        self.views, self._ends = [], []
        self.words[self._cursor] = NEVER

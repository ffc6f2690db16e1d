"""Real processes over lab 05's shared log, stopped and continued all the time: is every record read, once and whole?

    python tests/labs/shared_log_stress.py --records 2000000

So many writers write numbered records with a checksum and a random length into their rings as fast as they can. Each of
them, and a process that only reads, reads all the others' records, checks each of them, and hashes their order. The
parent gathers, publishes and frees. A bell is a byte in a socketpair, as in the server: it says "look again". Another
process stops (SIGSTOP) and continues any of them, the parent too, for a random time, again and again.

Standard output: one line that tells what was seen. A record that is lost, torn, repeated or in another order for some
is one line on standard error, and exit status 1. A copy of shared_log.py on PYTHONPATH is used instead of the lab's.
"""

import argparse
import contextlib
import ctypes
import json
import os
import random
import select
import signal
import socket
import sys
import time
import zlib
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "labs/05_epoll_fork_shm"))

from shared_log import Overrun, Reader, SharedLog, Writer  # noqa: E402  (the lab's folder has to be on the path first)

RING_BYTES = 1 << 17
ENTRIES = 512
LONGEST_PAYLOAD_BYTES = 900
NOISE = bytes(random.Random(1).choices([*range(10), *range(11, 256)], k=1 << 16))  # any byte but the newline
STOPPED_SECONDS = 0.003  # at most
PR_SET_PDEATHSIG = 1


class Fault(Exception):
    """What must not be: one line."""


def record(author: int, number: int, payload: bytes) -> bytes:
    return b"%d %d %d " % (author, number, zlib.crc32(b"%d %d " % (author, number) + payload)) + payload + b"\n"


class Bell:
    """One end of a socketpair. When it is full the other side has not looked yet, and will."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        sock.setblocking(False)

    def ring(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self.sock.send(b".")

    def heard(self) -> bool:
        """False at the end."""
        try:
            return self.sock.recv(4096) != b""
        except BlockingIOError:
            return True
        except ConnectionError:
            return False


class Child:
    """A writer of `records` records, and reader of all others'. `totals`: how many each slot's child writes."""

    def __init__(self, log: SharedLog, slot: int, bell: Bell, totals: list[int], seed: int):
        self.slot, self.bell, self.totals = slot, bell, totals
        self.writer, self.reader = Writer(log, slot), Reader(log, slot)
        self.random = random.Random(seed)
        self.number = 0
        self.unsaid = b""  # of the last record: a ring takes what it takes
        self.partial = b""  # of a record that is being read
        self.read = [0] * len(totals)
        self.orders = [0] * len(totals)  # for each other child: the order of what was said by neither it nor us

    def work(self) -> None:
        """Until all is written and read."""
        while self.number < self.totals[self.slot] or self.unsaid or not self.has_read_all():
            moved = self.write()
            moved |= self.take()
            if moved:
                self.bell.ring()
            else:
                select.select([self.bell.sock], [], [])
            if not self.bell.heard():
                raise Fault(f"child {self.slot}: the parent has gone")

    def has_read_all(self) -> bool:
        return all(self.read[slot] == total for slot, total in enumerate(self.totals) if slot != self.slot)

    def write(self) -> bool:
        """As much as the ring takes at once, with records cut anywhere."""
        space = self.writer.space()
        if not space:
            return False
        pieces, count = [self.unsaid], len(self.unsaid)
        while count < len(space) and self.number < self.totals[self.slot]:
            start = self.random.randrange(len(NOISE) - LONGEST_PAYLOAD_BYTES)
            payload = NOISE[start : start + self.random.randrange(LONGEST_PAYLOAD_BYTES)]
            pieces.append(record(self.slot, self.number, payload))
            count += len(pieces[-1])
            self.number += 1
        data = b"".join(pieces)
        taken = min(len(space), len(data))
        space[:taken] = data[:taken]
        self.unsaid = data[taken:]
        if taken and not self.writer.add(taken):
            raise Fault(f"child {self.slot}: a record is too long")
        return taken > 0

    def take(self) -> bool:
        """Copy what is there, have it called done, and only then look at it."""
        if not self.reader.take():
            return False
        data = b"".join(self.reader.views)
        data = data[: self.random.randrange(1, len(data) + 1)] if self.random.random() < 0.5 else data
        self.reader.done(len(data))
        *whole, self.partial = (self.partial + data).split(b"\n")
        for line in whole:
            self.check(line + b"\n")
        return True

    def check(self, line: bytes) -> None:
        words = line.split(b" ", 3)
        if len(words) < 4 or not all(word.isdigit() for word in words[:3]):
            raise Fault(f"child {self.slot}: {line[:60]!r} is no record")
        author, number = int(words[0]), int(words[1])
        if line != record(author, number, words[3][:-1]):
            raise Fault(f"child {self.slot}: record {number} of child {author} is torn")
        if author == self.slot or number != self.read[author]:
            raise Fault(f"child {self.slot}: record {number} of child {author}, but {self.read[author]} should come")
        self.read[author] += 1
        for other in range(len(self.orders)):
            if other not in (author, self.slot):
                self.orders[other] = zlib.crc32(words[2], zlib.crc32(words[0], self.orders[other]))


class Parent:
    """Makes the children, and does for them what a parent does: gather, publish, free."""

    def __init__(self, writers: int, records: int, seed: int):
        totals = [records // writers + (slot < records % writers) for slot in range(writers)]
        self.totals = [*totals, 0]  # the last one only reads
        self.log = SharedLog(len(self.totals), RING_BYTES, ENTRIES)
        self.bells: dict[int, Bell] = {}
        self.pids: list[int] = []
        self.slots: dict[int, int] = {}  # descriptor of a bell → slot
        self.pipes: dict[int, int] = {}  # slot → descriptor
        self.orders: dict[int, list[int]] = {}  # slot → what its child has reported
        for slot in range(len(self.totals)):
            self.log.enter(slot)
        parent = os.getpid()
        for slot in range(len(self.totals)):
            self.start(slot, seed, parent)

    def start(self, slot: int, seed: int, parent: int) -> None:
        mine, its = socket.socketpair()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            end_with(parent)
            mine.close()
            for bell in self.bells.values():
                bell.sock.close()
            os._exit(self.child(Child(self.log, slot, Bell(its), self.totals, seed + slot), writing))
        its.close()
        os.close(writing)
        self.pids.append(pid)
        self.bells[mine.fileno()] = Bell(mine)
        self.slots[mine.fileno()], self.pipes[slot] = slot, reading

    @staticmethod
    def child(child: Child, report: int) -> int:
        try:
            child.work()
            os.write(report, json.dumps({"orders": child.orders}).encode())
        except (Fault, Overrun) as error:
            os.write(report, json.dumps({"fault": str(error)}).encode())
            return 1
        return 0

    def work(self) -> None:
        """Until all children have ended. Raises the Fault of the first that has one: the others would wait for ever."""
        with select.epoll() as poller:
            for descriptor in self.bells:
                poller.register(descriptor, select.EPOLLIN)
            while self.bells:
                for descriptor, _ in poller.poll():
                    if not self.bells[descriptor].heard():
                        poller.unregister(descriptor)
                        self.bells.pop(descriptor).sock.close()
                        self.bury(self.slots[descriptor])
                self.turn()

    def bury(self, slot: int) -> None:
        report = json.loads(os.read(self.pipes[slot], 65536) or json.dumps({"fault": f"child {slot} ended"}))
        if "fault" in report:
            raise Fault(report["fault"])
        self.orders[slot] = report["orders"]
        self.log.leave(slot)

    def turn(self) -> None:
        """Its bell rings for everything: for what was gathered, and for what was given back."""
        for slot in self.slots.values():
            self.log.gather(slot)
        before = self.log.words[self.log.FREED]
        self.log.free()
        for slot in self.slots.values():
            self.log.gather(slot)  # the log may have been full
        if self.log.publish() or self.log.words[self.log.FREED] > before:
            for bell in self.bells.values():
                bell.ring()

    def verdict(self) -> str:
        """What was seen, in one line. Raises Fault."""
        for pid in self.pids:
            os.waitpid(pid, 0)
        for one, its in self.orders.items():
            for other, others in self.orders.items():
                if one != other and its[other] != others[one]:
                    raise Fault(f"children {one} and {other} have read what the others said in different orders")
        readings = sum(sum(self.totals) - own for own in self.totals)
        return f"{sum(self.totals)} records, read {readings} times: each whole, once, and all in one order"


def torment(pids: list[int], seed: int, quiet: int) -> int:
    """Stop one of them for a moment, again and again, until `quiet` is at end of file. Returns how often."""
    chance = random.Random(seed)
    times = 0
    while not select.select([quiet], [], [], chance.random() * STOPPED_SECONDS)[0]:
        pid = chance.choice(pids)
        os.kill(pid, signal.SIGSTOP)
        select.select([quiet], [], [], chance.random() * STOPPED_SECONDS)
        os.kill(pid, signal.SIGCONT)
        times += 1
    return times


def start_torment(pids: list[int], seed: int) -> tuple[int, int, int]:
    """Its pid, the pipe that ends it when it is closed, and the one on which it then tells how often it has done so."""
    quiet, control = os.pipe()
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        end_with(parent)
        os.close(control)
        os.write(writing, b"%d" % torment([parent, *pids], seed, quiet))
        os._exit(0)
    os.close(quiet)
    os.close(writing)
    return pid, control, reading


def end_with(parent: int) -> None:
    """Be killed when the parent ends, stopped or not: prctl(2)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def stress(records: int, writers: int, seed: int) -> str:
    """The whole of it. Returns one line; raises Fault."""
    began = time.monotonic()
    parent = Parent(writers, records, seed)
    tormentor, control, told = start_torment(parent.pids, seed)
    parent.work()
    os.close(control)
    os.waitpid(tormentor, 0)  # before the children are waited for: until then their pids are their own
    times = int(os.read(told, 100))
    return f"{parent.verdict()}; stopped {times} times in {time.monotonic() - began:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, help="of all writers together (default %(default)s)")
    parser.add_argument("--writers", type=int, default=3, help="processes that write (default %(default)s)")
    parser.add_argument("--seed", type=int, help="of all that is random; default: another one each time")
    options = parser.parse_args()
    if options.records < 0 or not 1 <= options.writers <= 100:
        sys.exit(f"{parser.prog}: --records must not be negative, and --writers be from 1 to 100")
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    try:
        print(stress(options.records, options.writers, seed))
    except Fault as fault:
        sys.exit(f"{parser.prog}: {fault} (--seed {seed})")


if __name__ == "__main__":
    main()

"""What /proc tells of a server and its children: memory, descriptors, who serves whom, whether they sleep: proc(5)."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from chatlab import procfs
from chatlab.launch.program import scale
from chatlab.load import Client
from tests.conformance.room import DoesNotApply, Room

WINDOW_SECONDS = 0.2
WINDOWS = 5
AWAKE_SECONDS = 0.01  # of processor time in a window: one that spins has a hundred times that of one that sleeps
WAKE_UPS = 4  # in a window: a timer now and then is no fault
MEMORY_LOOK_SECONDS = 0.1


def tree(room: Room) -> list[int]:
    """The server's process and those below it, zombies too."""
    pid = room.needs_pid()
    return [pid, *(each.pid for each in procfs.descendants(pid))]


def children_of(room: Room, clients: Sequence[Client]) -> list[int]:
    """For each of these clients the child that serves it. Raises DoesNotApply when there is no process for each."""
    held = {pid: procfs.descriptors(pid).values() for pid in tree(room)[1:]}  # in the order in which they were forked
    children = []
    for client in clients:
        inodes = {f"socket:[{end.inode}]" for end in ends(room) if is_of(end, client)}
        # One that was forked later may hold a copy: a mistake, but it serves another.
        children += [pid for pid in held if not inodes.isdisjoint(held[pid])][:1]
    if len(set(children)) < len(clients):
        raise DoesNotApply("this server has no process for each client")
    return children


def has_children(room: Room, clients: Sequence[Client]) -> bool:
    """Whether there is a process for each of these clients."""
    with suppress(DoesNotApply):
        return bool(children_of(room, clients))
    return False


def ends(room: Room) -> list[procfs.TcpSocket]:
    """The server's TCP sockets: its listener, and its end of each connection."""
    port = room.address[1]
    return [end for end in procfs.tcp_sockets(port) if end.local[1] == port]


def is_of(end: procfs.TcpSocket, client: Client) -> bool:
    """Whether a server's TCP socket is its end of this client's connection."""
    return end.remote[1] == client.socket.getsockname()[1]


def zombies(room: Room) -> list[int]:
    """Children that have ended and were not waited for."""
    return [entry.pid for entry in procfs.descendants(room.needs_pid()) if entry.state in "ZX"]


def descriptors(room: Room) -> int:
    """How many descriptors the server's processes have open."""
    return sum(len(procfs.descriptors(pid)) for pid in tree(room))


def memory(room: Room) -> int:
    """Resident bytes of the server's processes; a page that several of them share counts once."""
    return procfs.resident_bytes(tree(room))


class MemoryPeak:
    """How much the server's memory has grown at most since this was made.

    The kernel keeps a process's own peak, but nothing of those that are gone, or of what several have together: of a
    server with children it is what was seen whenever `look` was called.
    """

    def __init__(self, room: Room):
        self._room = room
        self._before = self._most = memory(room)
        self._next = 0.0

    def look(self) -> None:
        """Look, now and then: it costs some time."""
        if time.monotonic() >= self._next:
            self._most = max(self._most, memory(self._room))
            self._next = time.monotonic() + MEMORY_LOOK_SECONDS

    @property
    def grown(self) -> int:
        """Bytes."""
        pids = tree(self._room)
        peak = int(procfs.status(pids[0])["VmHWM"].split()[0]) * 1024 if len(pids) == 1 else memory(self._room)
        return max(self._most, peak) - self._before


def processor_seconds(room: Room) -> float:
    """Time on a processor of all the server's threads."""
    total = 0
    for pid in tree(room):
        with suppress(FileNotFoundError, ProcessLookupError):  # a child that has ended meanwhile
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                    total += int(file.read().split()[0])
    return total / 1e9


def wake_ups(room: Room) -> int:
    """How often they went to sleep of themselves, so how often they woke."""
    return sum(int(procfs.status(pid).get("voluntary_ctxt_switches", "0")) for pid in tree(room))


def rests(room: Room, mistake: str) -> None:
    """Raise Fault unless the server sleeps. One that spins is awake in every window; a good one may still be tidying up
    in the first."""
    for _ in range(WINDOWS):
        seconds, woken = processor_seconds(room), wake_ups(room)
        time.sleep(WINDOW_SECONDS)  # the time that is looked at, not a wait for anything
        seconds, woken = processor_seconds(room) - seconds, wake_ups(room) - woken
        if seconds < AWAKE_SECONDS and woken <= WAKE_UPS:
            return
    room.should(
        False,
        should="sleep while nothing happens",
        but=f"in {WINDOW_SECONDS:g} s it woke {woken} times and was {seconds * 1000:.0f} ms on a processor",
        mistake=mistake,
    )


def tries(room: Room) -> Iterator[int]:
    """Numbers, until the room's time is up: for what becomes true by itself, looked at again and again."""
    deadline = time.monotonic() + room.timeout * scale()
    number = 0
    while time.monotonic() < deadline:
        yield number
        number += 1

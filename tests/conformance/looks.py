"""What /proc tells of a server: its memory, its descriptors, whether it sleeps. Source: proc(5)."""

import os
import time
from collections.abc import Iterator

from chatlab import procfs
from chatlab.launch.program import scale
from tests.conformance.room import Room

WINDOW_SECONDS = 0.2
WINDOWS = 5
AWAKE_SECONDS = 0.01  # of processor time in a window: one that spins has a hundred times that of one that sleeps
WAKE_UPS = 4  # in a window: a timer now and then is no fault
TRIES = 200


def tree(room: Room) -> list[int]:
    """The server's process and those below it."""
    pid = room.needs_pid()
    return [pid, *(each.pid for each in procfs.descendants(pid))]


def descriptors(room: Room) -> int:
    """How many descriptors the server's processes have open."""
    return sum(len(procfs.descriptors(pid)) for pid in tree(room))


def memory(room: Room) -> int:
    """Resident bytes of the server's processes."""
    return sum(_kilobytes(pid, "VmRSS") for pid in tree(room)) * 1024


def memory_peak(room: Room) -> int:
    """The most that they had, in bytes."""
    return sum(_kilobytes(pid, "VmHWM") for pid in tree(room)) * 1024


def _kilobytes(pid: int, field: str) -> int:
    return int(procfs.status(pid).get(field, "0 kB").split()[0])


def processor_seconds(room: Room) -> float:
    """Time on a processor of all the server's threads."""
    total = 0
    for pid in tree(room):
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

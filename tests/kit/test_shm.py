"""A server's shared memory, read from outside: fields and lines are where the lab's module puts them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chatlab import launch, procfs, shm
from chatlab.load import Client, admit
from tests.kit.waiting import until

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "labs" / "05_epoll_fork_shm"
SERVER = "labs/05_epoll_fork_shm/fork_shm_server.py"
SLOTS, RING_BYTES = 4, 131072
OPTIONS = ("--port", "0", "--max-clients", SLOTS, "--queue-bytes", RING_BYTES)

# The module itself, in a process of its own: the fields get values that tell them apart, and it waits to be looked at.
FILLED = """
import sys
import shared_log

log = shared_log.SharedLog(3, 1000, entries=8)
log.words[log.ORDERED], log.words[log.FREED] = 11, 5
for slot in range(2):
    fields = (log.freed(slot), log.said(slot), log.cursor(slot), log.arrived(slot))
    for field, value in zip(fields, (400, 1300, 7, 90)):
        log.words[field] = value + slot
place = log.place(10)
log.words[place], log.words[place + 1], log.words[place + 2], log.words[place + 3] = 10, 1, 995, 10
start = log.ring(1)
log.bytes[start + 995 : start + 1000], log.bytes[start : start + 5] = b"hello", b", you"
print("filled", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def filled():
    """The pid of a process with a log of 3 slots of 1000 bytes, and 8 entries."""
    with subprocess.Popen(
        [sys.executable, "-c", FILLED], cwd=LAB, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "filled\n"
        yield process.pid
        process.stdin.close()


def test_the_layout_is_that_of_the_labs_module(filled):
    with shm.SharedMemory(filled, slots=3, ring_bytes=1000, entries=8) as memory:
        look = memory.look()
        assert (look.ordered, look.freed) == (11, 5)
        assert look.slots == (shm.Slot(400, 1300, 7, 90), shm.Slot(401, 1301, 8, 91), shm.Slot(0, 0, None, 0))
        assert look.readers == [0, 1]
        assert look.slots[1].held == 900
        assert memory.entry(10) == shm.Entry(number=10, slot=1, position=995, length=10)
        assert memory.entry(18) == memory.entry(10), "what took its place says so by its number"
        assert memory.said(1, 995, 10) == b"hello, you"


def test_a_line_lies_in_its_senders_ring_and_the_log_says_where():
    with (
        launch(SERVER, *OPTIONS) as server,
        shm.SharedMemory(server.pid, SLOTS, RING_BYTES) as memory,
        Client(server.address) as ann,
    ):
        (hers,) = until(lambda: memory.look().readers, "Ann's child")
        with Client(server.address) as bob:
            admit([ann, bob])
            before = memory.look().slots[hers].said
            ann.send(b"hello\nhalf a li")
            assert bob.read_line() == b"hello\n"
            look = memory.look()
            assert look.slots[hers].said == before + 6
            assert memory.entry(look.ordered - 1) == shm.Entry(look.ordered - 1, hers, before, 6)
            assert memory.said(hers, before, 15) == b"hello\nhalf a li"


def test_any_process_of_the_server_shows_the_same_memory():
    with launch(SERVER, *OPTIONS) as server, Client(server.address) as ann, Client(server.address) as bob:
        admit([ann, bob])
        pids = [server.pid, *(child.pid for child in procfs.descendants(server.pid))]
        assert len(pids) == 3

        def seen() -> set:
            looks = []
            for pid in pids:
                with shm.SharedMemory(pid, SLOTS, RING_BYTES) as memory:
                    looks.append(memory.look())
            return {(look.ordered, look.slots) for look in looks}

        words = "the same fields in all processes of a room that has fallen silent"
        ((ordered, _),) = until(lambda: len(looks := seen()) == 1 and looks, words)
        assert ordered


@pytest.mark.parametrize(("slots", "ring_bytes"), [(SLOTS + 1, RING_BYTES), (SLOTS, RING_BYTES * 2)])
def test_another_size_is_one_clear_line(slots, ring_bytes):
    words = f"--max-clients {slots} and --queue-bytes {ring_bytes}"
    with launch(SERVER, *OPTIONS) as server, pytest.raises(shm.ShmError, match=words):
        shm.SharedMemory(server.pid, slots, ring_bytes)


def test_a_process_that_ends_is_one_clear_line(filled):
    with shm.SharedMemory(filled, slots=3, ring_bytes=1000, entries=8) as memory:
        os.kill(filled, signal.SIGKILL)
        until(lambda: procfs.stat(filled).state == "Z", "it has ended")
        with pytest.raises(shm.ShmError, match=f"the memory of process {filled} cannot be read: "):
            memory.look()
    with pytest.raises(shm.ShmError, match="has no shared memory|cannot be read"):
        shm.SharedMemory(filled, slots=3, ring_bytes=1000, entries=8)

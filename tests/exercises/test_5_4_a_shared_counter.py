"""5.4 a shared counter that loses no updates: processes that are stopped and killed in the middle of an addition."""

import pytest

pytestmark = pytest.mark.exercise("5.4")
READ = "One writer for each field"
FREEZES = 100
FREEZE_SECONDS = 2.5  # on a busy machine each freeze may take a while
READ_SECONDS = 1.0
TURNS = 5
PATIENCE_SECONDS = 3.0
SECONDS = 6.0

HELPERS = """
import os, random, signal, sys, time

HIGH = 2**32  # what we add ourselves is counted in these, and what a child adds, one by one, stays below

def child_adds(tally, writer, amounts):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for amount in amounts:
                tally.add(writer, amount)
            status = 0
        finally:
            os._exit(status)
    return pid

def ones():
    while True:
        yield 1

def add_together(amounts):
    tally = Tally(len(amounts))
    pids = [child_adds(tally, writer, mine) for writer, mine in enumerate(amounts)]
    ended = [os.waitpid(pid, 0)[1] for pid in pids]
    return ended, tally.total()

def comes_to(condition):
    # True when it has; after seconds without, something is wrong with the count or the child.
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > until:
            return False
        os.sched_yield()
    return True

def add_while_it_is_frozen(freezes, seconds):
    # (how often it was frozen, what we have added, what of it is in the total)
    tally = Tally(2)
    pid = child_adds(tally, 0, ones())
    number, ours, until = 0, 0, time.monotonic() + seconds
    try:
        while number < freezes and time.monotonic() < until:
            number += 1
            before = tally.total()
            if not comes_to(lambda: tally.total() != before):
                return number, ours, None
            for _ in range(random.randrange(300)):
                pass
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
            found = tally.total() // HIGH
            if found != ours:
                return number, ours, found
            for _ in range(3):
                tally.add(1, HIGH)
                ours += 1
            if tally.total() // HIGH != ours:
                return number, ours, tally.total() // HIGH
            os.kill(pid, signal.SIGCONT)
        return number, ours, ours
    finally:
        end(pid)

def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

def read_while_they_add(seconds):
    # (before, after) when the total has gone back; (None, how often it was read) when it has not
    tally = Tally(3)
    pids = [child_adds(tally, writer, ones()) for writer in range(3)]
    try:
        until, last, reads = time.monotonic() + seconds, 0, 0
        while time.monotonic() < until:
            for _ in range(1000):
                total = tally.total()
                if total < last:
                    return last, total
                last = total
            reads += 1000
        return None, reads
    finally:
        for pid in pids:
            end(pid)

def called_by_add():
    # The names of the functions written in C that one add calls.
    tally, called = Tally(1), set()
    def profiler(frame, event, argument):
        if event == "c_call":
            called.add(argument.__name__)
    sys.setprofile(profiler)
    try:
        tally.add(0, 1)
    finally:
        sys.setprofile(None)
    return called

def take_over(amounts):
    # A writer is killed at some moment, another one goes on: (what it had added, what there is in the end)
    tally = Tally(2)
    tally.add(1, 7)
    pid = child_adds(tally, 0, ones())
    grew = comes_to(lambda: tally.total() > 1000)
    end(pid)
    before = tally.total()
    os.waitpid(child_adds(tally, 0, amounts), 0)
    return grew, before, tally.total()
"""


def define_helpers(student):
    student.define(f"PATIENCE_SECONDS = {PATIENCE_SECONDS * student.scale}\n{HELPERS}")


def test_processes_count_together(student):
    """Several processes add, and the total has it all."""
    define_helpers(student)
    amounts = [
        [student.random.randrange(1, 2**40) for _ in range(student.random.randrange(100, 200))] for _ in range(5)
    ]
    call = student.call("add_together", amounts, step="5 children add up to 200 amounts each", read=READ)
    ended, total = call.value
    student.should(not any(ended), should="add in a child", but="a child raised, as its last words say", read=READ)
    wanted = sum(map(sum, amounts))
    student.should(
        total == wanted,
        should=f"make a total of {wanted}",
        but=f"it is {total!r}",
        mistake="memory that fork copies: what a child stores there stays its own; mmap.mmap(-1, n) is shared",
        read=READ,
    )
    student.should(
        not call.audit.segments,
        should="leave nothing behind that has a name",
        but=f"there is {', '.join(map(str, call.audit.segments))} in /dev/shm",
        mistake="shared memory with a name, which outlives everybody who used it; children need none: they inherit it",
        read=READ,
    )


def test_nothing_is_lost(student):
    """Nothing is lost when a writer is frozen in the middle of an addition, and nobody waits for it."""
    define_helpers(student)
    freezes, ours, found = student.call(
        "add_while_it_is_frozen",
        FREEZES,
        FREEZE_SECONDS,
        step=f"one child adds without a pause; up to {FREEZES} times it is frozen, and the parent adds",
        hangs="a lock: who holds it is frozen, or dead, and everybody else waits",
        timeout=SECONDS,
        read=READ,
    ).value
    student.should(found is not None, should="go on counting when thawed", but="the total does not grow", read=READ)
    student.should(
        found == ours,
        should=f"have all {ours} additions of the parent in the total",
        but=f"after {freezes} freezes {ours - found} of them are gone",
        mistake="one field for all: the child had loaded it, and stores what it was before the parent's additions",
        read=READ,
    )


def test_the_total_never_goes_back(student):
    """Who asks while others add never hears less than before."""
    define_helpers(student)
    cleared = "a field that is cleared before it is filled, as struct.pack_into does, or stored piece by piece"
    called = student.call("called_by_add", step="add(0, 1), and what it calls is written down", read=READ).value
    student.should(
        "pack_into" not in called,
        should="store a field at once, as memoryview.cast does",
        but="it called struct.pack_into",
        mistake=cleared,
        read=READ,
    )
    before, after = student.call(
        "read_while_they_add",
        READ_SECONDS,
        step=f"three children add, and for {READ_SECONDS:g} s the parent asks for the total again and again",
        hangs="a lock: who holds it is not running, and everybody else waits",
        timeout=SECONDS,
        read=READ,
    ).value
    student.should(
        before is None,
        should="never say less than before",
        but=f"it said {before}, and then {after}",
        mistake=cleared,
        read=READ,
    )


def test_a_number_is_taken_over(student):
    """When a writer is killed, another one goes on under its number."""
    define_helpers(student)
    for _ in range(TURNS):
        amounts = [student.random.randrange(1, 1000) for _ in range(20)]
        grew, before, after = student.call(
            "take_over",
            amounts,
            step=f"a writer is killed; another one adds {sum(amounts)} under its number",
            hangs="a lock: who held it is dead, and everybody else waits",
            timeout=SECONDS,
            read=READ,
        ).value
        student.should(grew, should="count", but="the total does not grow", read=READ)
        student.should(
            after == before + sum(amounts),
            should=f"say {before + sum(amounts)}: {before} were there when the first one was dead",
            but=f"it says {after}",
            mistake="a count of one's own beside the memory: who takes the number over does not have it",
            read=READ,
        )

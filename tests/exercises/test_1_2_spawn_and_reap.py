"""The judge of exercise 1.2: children held by gates, let go in an order of the judge's."""

import os
from contextlib import contextmanager

import pytest

from chatlab.judge import Fd

pytestmark = pytest.mark.exercise("1.2")


@contextmanager
def gates(number: int):
    """So many pipes: yields their reading ends, as arguments for the student, and their writing ends."""
    pipes = [os.pipe() for _ in range(number)]
    try:
        yield [Fd(reading) for reading, _ in pipes], [writing for _, writing in pipes]
    finally:
        for pair in pipes:
            for descriptor in pair:
                os.close(descriptor)


def spawn(student, codes, release=None):
    """Call spawn_and_reap, let the children go in the order `release` (of their numbers), and return the Call."""
    with gates(len(codes)) as (reading, writing):
        pending = student.start("spawn_and_reap", codes, reading, step=f"spawn_and_reap({codes}, gates)")
        if release is not None:
            wait_until_all_run(student, codes, pending)
            student.step(f"let the children go in the order {release}")
        for gone, number in enumerate(release or range(len(codes)), start=1):
            os.write(writing[number], b".")
            if release is not None:
                wait_until_gone(student, len(codes) - gone)
        return pending.result(hangs="a wait for a child that is not there, or a gate that is not read", read="Zombies")


def wait_until_all_run(student, codes, pending) -> None:
    """All children must live while the gates are shut; a parent that waits meanwhile will start no more."""

    def settled(audit) -> bool:
        at_gates = [pid for pid in audit.children if audit.processes[pid].waits_in.startswith("read")]
        stuck = waits(audit) and len(at_gates) == living(audit) > 0
        return living(audit) >= len(codes) or stuck or pending.done

    mistake = "each child waited for before the next is started"
    words = f"have {len(codes)} children at the same time, each before its gate"
    student.until(settled, should=words, mistake=mistake, read="Zombies")
    audit = student.audit()  # looked at again: the first look may have been in the midst of the forks
    student.should(
        living(audit) >= len(codes),
        should=words,
        but=f"{living(audit)} live, and {'the call has ended' if pending.done else audit.describe([audit.student])}",
        mistake=why_ended_early(audit) if pending.done else mistake,
        read="Zombies",
    )


def why_ended_early(audit) -> str:
    """The likely mistake of a call that has ended while the gates were shut."""
    if audit.zombies:
        return "the call has ended before its children: gates that are not read, and children that nobody waits for"
    if audit.children:
        return "the call has ended before its children: a return inside the loop that starts them"
    return "the call has ended before its children: no fork, or gates that are not read"


def wait_until_gone(student, left: int) -> None:
    """Wait until so many children live, and the parent has seen it: until it sleeps in its wait again.

    Two looks in a row must agree, since one look takes the processes one after the other. A parent that never sleeps in
    a wait, but asks again and again, is given some looks' time.
    """
    looks = []

    def seen(audit) -> bool:
        looks.append(living(audit) <= left and waits(audit))
        return looks[-2:] == [True, True] or (living(audit) <= left and (left == 0 or len(looks) > 50))

    mistake = "a child that reads another gate than its own, or does not leave afterwards"
    student.until(seen, should=f"have {left} children left now", mistake=mistake, read="Zombies")


def living(audit) -> int:
    return len(set(audit.children) - set(audit.zombies))


def waits(audit) -> bool:
    return audit.own is not None and audit.own.waits_in.startswith("wait")


def some_codes(student, number: int) -> list[int]:
    return student.random.sample(range(1, 100), number)


def test_all_children_run_together(student):
    """All children run at the same time."""
    codes = some_codes(student, 4)
    spawn(student, codes, release=list(range(4)))


def test_statuses_are_in_the_order_of_the_codes(student):
    """The statuses are in the order of the codes."""
    codes = some_codes(student, 5)
    call = spawn(student, codes, release=[4, 2, 3, 1, 0])
    mistake = "something else than the statuses of the children"
    if isinstance(call.value, list) and sorted(call.value) == sorted(codes):
        mistake = "statuses in the order in which the children ended"
    elif call.value == [code << 8 for code in codes]:
        mistake = "the raw status of waitpid: os.waitstatus_to_exitcode takes it apart"
    student.should(
        call.value == codes, should=f"return {codes}", but=f"it returned {call.value}", mistake=mistake, read="Zombies"
    )


def test_every_child_is_reaped(student):
    """Every child is reaped."""
    codes = some_codes(student, 5)
    call = spawn(student, codes)
    none_reaped = len(call.audit.children) == len(codes)
    student.should(
        not call.audit.children,
        should="leave no child behind",
        but=lambda: call.audit.describe(call.audit.children),
        mistake="children that nobody waits for" if none_reaped else "one waitpid for many children",
        read="Zombies",
    )


def test_a_child_ended_by_a_signal(student):
    """A child that a signal ended has a negative status."""
    codes = [*some_codes(student, 2), -9, -15]
    student.random.shuffle(codes)
    call = spawn(student, codes)
    student.should(
        call.value == codes,
        should=f"return {codes}",
        but=f"it returned {call.value}",
        mistake="WEXITSTATUS of a child that did not exit: ask WIFSIGNALED first, or use os.waitstatus_to_exitcode",
        read="Zombies",
    )


def test_no_codes(student):
    """No codes, no children."""
    call = student.call("spawn_and_reap", [], [], raises=True, hangs="a wait although there is no child")
    student.should(
        call.value == [],
        should="return []",
        but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
        mistake="a wait before it is known whether there is a child",
        read="Zombies",
    )


def test_other_children_are_left_alone(student):
    """The caller's other children are left to her."""
    student.define(
        "import os\n"
        "_other = os.fork()\n"
        "if _other == 0:\n"
        "    os._exit(77)\n"
        "os.waitid(os.P_PID, _other, os.WEXITED | os.WNOWAIT)\n"
        "def _other_is_left():\n"
        "    try:\n"
        "        return os.waitpid(_other, os.WNOHANG)[0] == _other\n"
        "    except ChildProcessError:\n"
        "        return False\n"
    )
    student.step("the caller has a child of her own, which has ended with status 77")
    codes = some_codes(student, 3)
    mistake = "os.wait or waitpid(-1), which takes any child: wait for the pids that you started"
    call = spawn(student, codes)
    left = student.call("_other_is_left", step="the caller waits for her own child").value
    student.should(
        left,
        should="leave the caller's own child to her",
        but=f"it was reaped already, and the statuses returned are {call.value}",
        mistake=mistake,
        read="Zombies",
    )

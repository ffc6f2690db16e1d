"""The judge of exercise 1.3: what a child prints, runs and leaves with, seen from its parent's side and outside."""

import pytest

from chatlab.judge import Name

pytestmark = pytest.mark.exercise("1.3")

HELPERS = """
import atexit, os, sys

def _say(word, status):
    print(word)
    return status

def _tell_who(status):
    print(os.getpid())
    return status

def _raise(kind):
    raise {"ValueError": ValueError, "SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[kind]("oops")

def _kill(number):
    os.kill(os.getpid(), number)

def _print_then_run(before, word, status):
    print(before)
    return run_in_child(_say, word, status)

def _run_in_a_finally(word, status):
    atexit.register(os.write, 1, b"EXIT-HANDLER\\n")
    try:
        return run_in_child(_say, word, status)
    finally:
        os.write(1, b"FINALLY\\n")
"""


def a_word(student) -> str:
    return "".join(student.random.sample("bcdfghjklmnpqrstvwxz", 8))


def a_status(student) -> int:
    return student.random.choice([status for status in range(1, 256) if status != 113])


def test_the_status_is_returned_and_the_child_reaped(student):
    """The child's status is returned, and the child reaped."""
    student.define(HELPERS)
    status = a_status(student)
    call = student.call(
        "run_in_child", Name("_tell_who"), status, step=f"run_in_child(work): the work returns {status}"
    )
    student.should(
        call.value == status,
        should=f"return {status}, which the work returned",
        but=f"it returned {call.value!r}",
        mistake="the raw status of waitpid: os.waitstatus_to_exitcode takes it apart"
        if call.value == status << 8
        else "another number than the child's exit status",
        read="Leave by _exit",
    )
    student.should(
        str(call.audit.student) not in call.output.decode().split(),
        should="do the work in a child",
        but=f"process {call.audit.student} did it, the one in which the function was called",
        mistake="no fork, or the work called in the parent",
        read="What fork returns",
    )
    student.should(
        not call.audit.children,
        should="reap the child",
        but=lambda: call.audit.describe(call.audit.children),
        mistake="no waitpid for this child",
        read="Zombies",
    )


def test_printed_before_is_there_once(student):
    """What the caller printed before is there once."""
    student.define(HELPERS)
    before, word, status = a_word(student), a_word(student), a_status(student)
    call = student.call(
        "_print_then_run", before, word, status, step=f"print({before!r}); run_in_child(say, {word!r}, {status})"
    )
    count = call.output.decode().split().count(before)
    student.should(
        count == 1,
        should=f"have the caller's {before!r} once in the output",
        but=f"it is there {count} times",
        mistake="a buffer that is copied by fork and written by both: flush before the fork"
        if count > 1
        else "the text of the caller thrown away",
        read="Buffers",
    )


def test_what_the_work_prints_is_there_once(student):
    """What the work prints is there once."""
    student.define(HELPERS)
    word, status = a_word(student), a_status(student)
    call = student.call("run_in_child", Name("_say"), word, status, step=f"run_in_child(say, {word!r}, {status})")
    count = call.output.decode().split().count(word)
    student.should(
        count == 1,
        should=f"have the work's {word!r} once in the output",
        but=f"it is there {count} times",
        mistake="os._exit flushes nothing: flush what the work has printed before it"
        if count == 0
        else "the work called more than once, or its text written twice",
        read="Leave by _exit",
    )


def test_nothing_of_the_callers_runs_in_the_child(student):
    """Nothing of the caller's code runs in the child."""
    student.define(HELPERS)
    word, status = a_word(student), a_status(student)
    words = f"with an exit handler registered: try: run_in_child(say, {word!r}, {status}) finally: print('FINALLY')"
    call = student.call("_run_in_a_finally", word, status, step=words)
    output = call.output.decode().split()
    for mark, what in (("FINALLY", 1), ("EXIT-HANDLER", 0)):
        student.should(
            output.count(mark) == what,
            should="run the caller's `finally` once, in the parent, and no exit handler of hers in the child",
            but=f"the output is {output}",
            mistake="a child that leaves by sys.exit or by an exception: only os._exit leaves at once",
            read="Leave by _exit",
        )


@pytest.mark.parametrize("kind", ["ValueError", "SystemExit", "KeyboardInterrupt"])
def test_an_exception_stays_in_the_child(student, kind):
    """An exception in the work ends the child with status 113."""
    student.define(HELPERS)
    call = student.call("run_in_child", Name("_raise"), kind, step=f"run_in_child(work), where work raises {kind}")
    student.should(
        call.value == 113,
        should="return 113, since the work raised an exception",
        but=f"it returned {call.value!r}",
        mistake=f"another status than 113 for {kind}",
        read="Leave by _exit",
    )


def test_a_signal_is_a_negative_status(student):
    """A child that a signal ended has a negative status."""
    student.define(HELPERS)
    number = student.random.choice([9, 15])
    call = student.call(
        "run_in_child", Name("_kill"), number, step=f"run_in_child(work): signal {number} ends the work"
    )
    student.should(
        call.value == -number,
        should=f"return {-number}",
        but=f"it returned {call.value!r}",
        mistake="WEXITSTATUS of a child that did not exit",
        read="Zombies",
    )

"""The judge of exercise 1.5: workers that end one by one, and forks that the kernel refuses (strace's injection)."""

import errno
import os

import pytest

pytestmark = pytest.mark.exercise("1.5")

HELPERS = """
import os

def _end_worker(pid, descriptor):
    os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
FAILING_FORKS = "Failing forks"
SECONDS = 1.5


def some_number(student) -> int:
    return student.random.randrange(4, 8)


def spawn(student, n: int) -> list[tuple[int, int]]:
    """Call spawn_all(n), which must give n pairs of a living worker and a descriptor."""
    call = student.call("spawn_all", n)
    pairs = [tuple(pair) for pair in call.value] if isinstance(call.value, list | tuple) else []
    student.should(
        sorted(pid for pid, *_ in pairs) == sorted(call.audit.children) and len(pairs) == n,
        should=f"return {n} pairs, one for each worker, and leave the workers running",
        but=lambda: f"it returned {call.value!r}, and the children are {call.audit.children}",
        mistake="another number of forks than n",
        read=FAILING_FORKS,
    )
    zombies = call.audit.zombies
    student.should(
        not zombies,
        should="let each worker wait for end of file",
        but=lambda: call.audit.describe(zombies),
        mistake="a worker that leaves at once: its writing end is closed already, or it does not read",
        read=FAILING_FORKS,
    )
    return pairs


def fail(student, n: int, refusal: str = "every fork from the third on, with EAGAIN"):
    """Call spawn_all(n), whose fork fails: it must raise OSError. Returns the Call."""
    student.step(f"the kernel will refuse {refusal}")
    hangs = "a fork tried again and again, or a wait for a worker that never ends"
    call = student.call("spawn_all", n, raises=True, hangs=hangs, timeout=SECONDS, read=FAILING_FORKS)
    student.should(
        call.exception is not None,
        should="raise OSError",
        but=f"it returned {call.value!r}",
        mistake="a failing fork that is passed over in silence",
        read=FAILING_FORKS,
    )
    student.should(
        "OSError" in call.exception.bases,
        should="raise OSError",
        but=f"it raised {call.exception}",
        mistake="another exception",
        read=FAILING_FORKS,
    )
    return call


def test_n_workers_run(student):
    """So many workers run as were asked for."""
    n = some_number(student)
    pairs = spawn(student, n)
    opened = student.audit().opened
    student.should(
        sorted(opened) == sorted(descriptor for _, descriptor in pairs),
        should="leave only the writing ends open in the parent",
        but=lambda: f"it has opened the descriptors {sorted(opened)}, and returned {pairs}",
        mistake="the parent keeps the reading ends",
        read="Reference counts",
    )


def test_a_worker_ends_when_its_own_pipe_closes(student):
    """A worker ends when its own pipe closes."""
    student.define(HELPERS)
    for pid, descriptor in spawn(student, 3):
        status = student.call(
            "_end_worker",
            pid,
            descriptor,
            step=f"close descriptor {descriptor}, and wait for worker {pid}",
            hangs="a younger worker holds a copy of the writing end: fork copies every descriptor",
            timeout=SECONDS,
            read="Reference counts",
        ).value
        student.should(status == 0, should="leave with status 0", but=f"its status is {status}", read="Leave by _exit")


@pytest.mark.inject("clone", error="EAGAIN", when="3+")
def test_the_error_says_what_happened(student):
    """The error says how far it came, and why no further."""
    n = some_number(student)
    call = fail(student, n)
    error = call.exception
    student.should(
        error.errno == errno.EAGAIN,
        should="keep the errno of the fork, EAGAIN",
        but=f"errno is {error.errno}: {error}",
        mistake="a text alone: OSError(errno, text) takes both",
        read=FAILING_FORKS,
    )
    wanted = [f"2 of {n}", os.strerror(errno.EAGAIN)]
    student.should(
        all(words in error.message for words in wanted),
        should=f'say "started {wanted[0]} workers: {wanted[1]}"',
        but=f'it says "{error.message}"',
        mistake="the kernel's error passed on as it is: nobody learns how far it came",
        read=FAILING_FORKS,
    )


@pytest.mark.inject("clone", error="ENOMEM", when="1+")
def test_the_first_fork_fails(student):
    """The first fork fails already, for want of memory."""
    n = some_number(student)
    error = fail(student, n, "every fork, with ENOMEM").exception
    student.should(
        error.errno == errno.ENOMEM and f"0 of {n}" in error.message and os.strerror(errno.ENOMEM) in error.message,
        should=f'raise OSError with ENOMEM, and say "started 0 of {n} workers: {os.strerror(errno.ENOMEM)}"',
        but=f'errno is {error.errno}, and the text "{error.message}"',
        mistake="one errno written into the code: take the one that fork gave",
        read=FAILING_FORKS,
    )


@pytest.mark.inject("clone", error="EAGAIN", when="3+")
def test_no_worker_is_left(student):
    """After the error no worker is left."""
    audit = fail(student, some_number(student)).audit
    student.should(
        not audit.children,
        should="end and reap the workers that were started",
        but=lambda: audit.describe(audit.children),
        mistake="workers ended and not reaped" if audit.zombies else "the workers are left to themselves",
        read=FAILING_FORKS,
    )


@pytest.mark.inject("clone", error="EAGAIN", when="3+")
def test_no_descriptor_is_left(student):
    """After the error no descriptor is left."""
    audit = fail(student, some_number(student)).audit
    student.should(
        not audit.opened,
        should="close every descriptor that was opened",
        but=lambda: "left open: " + ", ".join(f"{number} ({name})" for number, name in sorted(audit.opened.items())),
        mistake="the pipe made for the worker that never came" if len(audit.opened) <= 2 else "the workers' pipes",
        read=FAILING_FORKS,
    )

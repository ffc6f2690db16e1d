"""2.6 end a worker by closing: end of file is the message."""

import pytest

from chatlab.judge import Name

pytestmark = pytest.mark.exercise("2.6")
READ = "When end of file comes"
UNSEEN = "the parent still holds the worker's end too, so it never sees that the worker is gone"
KEPT = "a copy of the end is still open somewhere, so the worker never sees end of file"

HELPERS = """
import os, signal

def introduce(end):
    while end.recv(100):
        end.sendall(b"%d %d" % (os.getpid(), os.getppid()))

def note_every_word(end):
    words = b"".join(iter(lambda: end.recv(100), b""))
    return STATUS if not words else 99

def die(end):
    end.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)

def complain(end):
    end.recv(1)
    raise ValueError("a task that raises")

def ask(worker, question):
    worker.sock.sendall(question)
    return worker.sock.recv(100)
"""


def hire(student, task):
    """A Worker for one of the tasks above."""
    return student.new("Worker", Name(task), step=f"Worker({task})")


def prepare(student):
    """Define the tasks, with a random exit status. Returns it."""
    status = student.random.randrange(2, 90)
    student.define(HELPERS.replace("STATUS", str(status)))
    return status


def ask(student, worker):
    """Send a byte to a worker, and return what it answers."""
    return student.call(
        "ask", worker, b"?", hangs=UNSEEN, read=READ, step="send a byte to the worker, and receive"
    ).value


def test_it_works_in_a_process_of_its_own(student):
    """The task runs in a child, which pid names and sock reaches."""
    prepare(student)
    worker = hire(student, "introduce")
    pid = worker.get("pid")
    answer = ask(student, worker)
    expected = f"{pid} {student.audit().student}".encode()
    student.should(
        answer == expected,
        should=f"answer over sock from process {pid}, a child of the one that made the Worker",
        but=f"the answer was {answer!r}: its pid, and its parent's",
        mistake="the task run by the parent, or pid not the child's",
        read="Who closes what",
    )


def test_it_ends_by_end_of_file_alone(student):
    """Closing ends it: no signal, no message, and its status is returned each time."""
    status = prepare(student)
    worker = hire(student, "note_every_word")
    for words in ("return", "return once more"):
        call = worker.call("end", raises=True, hangs=KEPT, read=READ)
        student.should(
            call.exception is None and call.value == status,
            should=f"{words} {status}, the status with which the task left when it saw end of file",
            but=f"it raised {call.exception}" if call.exception else f"it returned {_status(call.value)}",
            mistake=_mistake(call),
            read=READ,
        )


def _status(value):
    return {99: "99: the task got a message", None: "nothing"}.get(
        value, f"{value}: ended by a signal" if isinstance(value, int) and value < 0 else repr(value)
    )


def _mistake(call):
    if call.exception:
        return "a second end() that waits for, or closes, what is gone: remember the status"
    if call.value == 99:
        return "a message that asks the worker to stop: closing is enough, and a worker that is busy sees it too"
    if isinstance(call.value, int) and call.value < 0:
        return "a worker that is killed: closing lets it finish what it does"
    return "a status that is not the one of os.waitstatus_to_exitcode"


def test_the_first_ends_while_others_live(student):
    """A worker made later does not keep an earlier one alive."""
    status = prepare(student)
    first = hire(student, "note_every_word")
    second = hire(student, "introduce")
    call = first.call(
        "end",
        hangs="the second worker was forked with a copy of the first one's sock, and keeps it open: close it there",
        read="Who closes what",
    )
    student.should(call.value == status, should=f"return {status}", but=f"it returned {_status(call.value)}")
    answer = ask(student, second)
    student.should(answer, should="leave the second worker alone", but="it does not answer any more")


def test_nothing_is_left(student):
    """After the end there is no zombie and no descriptor."""
    prepare(student)
    student.define("def come_and_go():\n    worker = Worker(note_every_word)\n    return worker, worker.end()")
    call = student.call("come_and_go", hangs=KEPT, read=READ, step="Worker(note_every_word), then end()")
    student.should(
        not call.audit.children,
        should="reap the worker",
        but=lambda: call.audit.describe(call.audit.children),
        mistake="no waitpid in end()",
        read="Who closes what",
    )
    student.should(
        not call.audit.opened and not call.unclosed,
        should="leave no descriptor open",
        but=f"left open: {', '.join(call.audit.opened.values()) or 'what the garbage collector then closed'}",
        mistake="the child's end never closed in the parent",
        read="Who closes what",
    )


def test_its_death_is_seen(student):
    """A worker that dies is seen as end of file, and its status is told."""
    prepare(student)
    for task, status in (("die", -9), ("complain", 1)):
        worker = hire(student, task)
        answer = ask(student, worker)
        student.should(
            answer == b"", should="see end of file on sock when the worker has died", but=f"{answer!r} came", read=READ
        )
        call = worker.call("end", hangs=KEPT, read=READ)
        student.should(
            call.value == status,
            should=f"return {status}",
            but=f"it returned {call.value!r}",
            mistake="a status that is made up: take it from waitpid, by os.waitstatus_to_exitcode",
            read=READ,
        )

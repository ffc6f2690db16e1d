"""2.1 ask a child: one question and its answer over one pair."""

import pytest

from chatlab.judge import Name

pytestmark = pytest.mark.exercise("2.1")

TRANSFORMS = """
import os, signal

def backwards(question):
    return question[::-1]

def who_am_i(question):
    return b"%d %d" % (os.getpid(), os.getppid())

def what_do_i_hold(question):
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(number + " " + os.readlink("/proc/self/fd/" + number))
        except OSError:  # the listing's own descriptor
            pass
    return "\\n".join(links).encode()

def die(question):
    os.kill(os.getpid(), signal.SIGKILL)

def complain(question):
    raise ValueError("a transform that raises")
"""
NO_END = "no end of file: the parent kept a copy of the child's end, or never told the question's end by shutdown"


def some_question(student):
    """A random question that reads well in the feedback."""
    return bytes(student.random.choices(b"abcdefghijklmnopqrstuvwxyz", k=12))


def ask(student, transform, question):
    """One call of ask_child."""
    student.define(TRANSFORMS)
    return student.call("ask_child", Name(transform), question, hangs=NO_END, read="Who closes what")


def test_a_child_answers(student):
    """The answer comes from a child."""
    call = ask(student, "who_am_i", some_question(student))
    student.should(
        isinstance(call.value, tuple) and len(call.value) == 2 and isinstance(call.value[0], bytes),
        should="return a tuple (answer, status)",
        but=f"it returned {call.value!r}",
        mistake="the answer alone, without the child's exit status",
    )
    pid, parent = map(int, call.value[0].split() or (0, 0))
    student.should(
        pid != call.audit.student and parent == call.audit.student,
        should="call transform in a child of the process that asks",
        but=f"process {pid}, whose parent is {parent}, called it; process {call.audit.student} asked",
        mistake="transform called before the fork, or in the parent",
        read="Full duplex",
    )
    student.should(
        call.value[1] == 0,
        should="return 0 as the status of a child that answered",
        but=f"it returned {call.value[1]!r}",
        mistake="a child that does not leave by os._exit(0), or a status not from os.waitstatus_to_exitcode",
    )


def test_the_child_is_reaped_and_both_ends_are_closed(student):
    """The child is reaped and both ends are closed."""
    call = ask(student, "backwards", some_question(student))
    student.should(
        not call.audit.children,
        should="reap the child",
        but=lambda: call.audit.describe(call.audit.children),
        mistake="no waitpid for the child",
        read="Who closes what",
    )
    student.should(
        not call.audit.opened and not call.unclosed,
        should="close both ends in the parent",
        but=f"left open: {', '.join(call.audit.opened.values()) or 'what the garbage collector then closed'}",
        mistake="an end that nobody closes: close it, or use `with`",
        read="Who closes what",
    )


def test_one_pair_and_one_end_each(student):
    """While it works, the child holds one end of one pair."""
    before = ask(student, "backwards", b"").audit.own.descriptors
    call = ask(student, "what_do_i_hold", b"?")
    held = dict(line.split(" ", 1) for line in call.value[0].decode().splitlines())
    own = {int(fd): link for fd, link in held.items() if link.startswith(("socket", "pipe")) and int(fd) not in before}
    own.pop(250, None)  # the judge's channel
    student.should(
        len(own) == 1 and next(iter(own.values())).startswith("socket"),
        should="leave the child one descriptor for both directions: its end of one socketpair",
        but=f"the child held {', '.join(f'{fd} -> {link}' for fd, link in own.items()) or 'none'}",
        mistake="two pairs or pipes where one pair does, or the parent's end still open in the child",
        read="Full duplex",
    )


def test_a_question_larger_than_the_buffers(student):
    """A long question and its long answer arrive whole."""
    question = student.random.randbytes(student.random.randrange(500_000, 800_000))
    answer = ask(student, "backwards", question).value[0]
    student.should(
        answer == question[::-1],
        should=f"bring back the answer, {len(question)} bytes",
        but=f"{len(answer)} bytes came" if len(answer) != len(question) else "other bytes came",
        mistake="one recv for the whole question or answer: a stream hands out what is there, so read to its end",
        read="Streams have no messages",
    )


def test_a_child_that_does_not_answer(student):
    """A child that dies instead of answering is reported."""
    for transform, status in (("die", -9), ("complain", 1)):
        call = ask(student, transform, some_question(student))
        student.should(
            call.value == (b"", status),
            should=f"return (b'', {status}) for a child that {'was killed' if status < 0 else 'raised'}",
            but=f"it returned {call.value!r}",
            mistake="a status that is made up: take it from waitpid, by os.waitstatus_to_exitcode",
            read="When end of file comes",
        )

"""3.2 what to do, and in which order: after one poll, from two masks and what is left in the pipe."""

import errno
from select import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDHUP

import pytest

pytestmark = pytest.mark.exercise("3.2")
READ = "What poll says"
NAMES = ("IN", "OUT", "RDHUP", "HUP", "ERR", "NVAL")
EVENTS = dict(zip(NAMES, (POLLIN, POLLOUT, POLLRDHUP, POLLHUP, POLLERR, POLLNVAL), strict=True))


def words(mask):
    """A mask as people read it: "IN|HUP"."""
    return "|".join(name for name, event in EVENTS.items() if mask & event) or "0"


def planned(student, keyboard, network, left, **options):
    """One call of plan."""
    step = f"plan(keyboard={words(keyboard)}, network={words(network)}, left={left})"
    return student.call("plan", keyboard, network, left, step=step, **options)


def expect(student, keyboard, network, left, steps, mistake):
    """Fail the check unless the plan is these steps. mistake: words, or a function of the plan that gives them."""
    value = planned(student, keyboard, network, left).value
    mistake = mistake(value) if callable(mistake) else mistake
    student.should(value == steps, should=f"return {steps}", but=f"it returned {value!r}", mistake=mistake, read=READ)


def test_printing_comes_first(student):
    """What the server says is printed before anything is sent, and nothing is done for nothing."""
    left = student.random.randrange(1, 60000)
    expect(student, POLLIN, POLLIN, 0, ["print", "take"], "the keyboard first: a send may be the last thing that works")
    expect(student, 0, POLLIN | POLLOUT, left, ["print", "flush"], "one event looked at where two are reported (elif)")
    expect(student, 0, POLLOUT, left, ["flush"], "what is left in the pipe forgotten")
    expect(student, POLLIN, 0, 0, ["take"], "a typed line not taken")


def at_the_end(value):
    """The likely mistake when a plan is wrong although the server has ended."""
    if isinstance(value, list) and "leave" in value and "drain" not in value:
        return "leaving before the last words are drained: RDHUP looked at, and IN beside it not"
    if isinstance(value, list) and "leave" in value:
        return "something else done for a server that has ended"
    return "the server's end not seen: a mask compared by ==, or only one of RDHUP, HUP and ERR looked at"


def test_last_words_come_before_the_close(student):
    """However the server ends, its last words are drained, then the client leaves, and does nothing else."""
    keyboard = student.random.choice([0, POLLIN, POLLHUP])
    left = student.random.randrange(1, 60000)
    for network in (
        POLLIN | POLLRDHUP,
        POLLIN | POLLRDHUP | POLLHUP | POLLERR,
        POLLIN | POLLRDHUP | POLLHUP,
        POLLHUP,
        POLLOUT | POLLERR,
    ):
        expect(student, keyboard, network, 0, ["drain", "leave"], at_the_end)
    expect(
        student,
        0,
        POLLIN | POLLOUT | POLLRDHUP,
        left,
        ["drain", "leave"],
        "something sent to a server that has ended: it may answer with a reset",
    )


def test_the_end_of_the_keyboard(student):
    """A hang-up alone is the end of standard input; with data beside it, there is still something to take."""
    expect(student, POLLHUP, 0, 0, ["half-close"], "only IN looked at: HUP alone comes back at every poll, for ever")
    expect(student, POLLERR, 0, 0, ["half-close"], "ERR not looked at: it comes back at every poll, for ever")
    expect(student, POLLIN | POLLHUP, 0, 0, ["take"], "HUP before IN: what is still in the pipe is lost")
    expect(student, POLLHUP, POLLIN, 0, ["print", "half-close"], "an end that keeps from printing")


def test_what_is_left_goes_first(student):
    """While something is left in the pipe, nothing is taken and no end is told."""
    left = student.random.randrange(1, 60000)
    overtaken = "a half-close, or newer bytes, that overtake what is left in the pipe"
    expect(student, POLLIN, POLLOUT, left, ["flush"], overtaken)
    expect(student, POLLHUP, 0, left, [], overtaken)
    expect(student, POLLHUP, POLLOUT, left, ["flush"], overtaken)
    expect(student, POLLIN, POLLIN, left, ["print"], overtaken)


def test_a_closed_descriptor(student):
    """A closed descriptor is a mistake in the program, and is raised."""
    for keyboard, network in ((POLLNVAL, POLLIN), (POLLIN, POLLNVAL), (0, POLLNVAL)):
        call = planned(student, keyboard, network, 0, raises=True)
        student.should(
            call.exception is not None and call.exception.errno == errno.EBADF,
            should="raise OSError with errno EBADF",
            but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
            mistake="NVAL passed over: poll reports it at every turn, and the client spins",
            read=READ,
        )

"""3.4 connect without waiting: many attempts side by side, the first that is there, nothing left behind."""

import fcntl
import os
import socket

import pytest

pytestmark = pytest.mark.exercise("3.4")
READ = "Connecting without waiting"
SHORT_SECONDS = 0.6  # much more than a busy machine takes for the call itself
TIMED_SECONDS = 3
WAKES = 1  # one address fails: poll has one reason to come back before the time is over

TIMED = """
def timed(addresses, timeout):
    "How long connect_first takes to raise TimeoutError, in seconds; True when it returns."
    import time

    began = time.monotonic()
    try:
        connect_first(addresses, timeout)
    except TimeoutError:
        return time.monotonic() - began
    return True
"""


class Harbour:
    """Addresses that behave in a known way, for certain."""

    def __init__(self):
        self.kept = []

    def listener(self):
        """A listener that answers."""
        sock = socket.create_server(("127.0.0.1", 0))
        self.kept.append(sock)
        return sock

    def silent(self):
        """An address that does not answer: its backlog is full, so the kernel drops every SYN (listen(2))."""
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        self.kept += [sock, socket.create_connection(sock.getsockname())]
        return sock.getsockname()

    def refusing(self):
        """An address that refuses: bound, and nobody listens."""
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self.kept.append(sock)
        return sock.getsockname()

    @staticmethod
    def unreachable():
        """An address for which connect itself fails at once: TCP has no broadcast."""
        return ("255.255.255.255", 9)


def connect(student, addresses, seconds, words, **options):
    """One call of connect_first."""
    return student.call(
        "connect_first",
        addresses,
        seconds,
        step=f"connect_first({words}, timeout={seconds:g})",
        raises=True,
        read=READ,
        **options,
    )


def must_connect(student, call, listener):
    """The call must have returned a connection to this listener."""
    student.should(
        call.exception is None,
        should="return a connection",
        but=f"it raised {call.exception}",
        mistake="EINPROGRESS taken for a failure, or one failure for the failure of all",
        read=READ,
    )
    sock = call.value
    student.should(isinstance(sock, socket.socket), should="return a socket", but=f"it returned {sock!r}", read=READ)
    try:
        peer = sock.getpeername()
    except OSError as error:
        peer = error.strerror
    student.should(
        peer == listener.getsockname(),
        should="return the socket whose connection is there",
        but=f"the socket's peer: {peer}",
        mistake="POLLOUT taken for success: it says that the attempt is over, and SO_ERROR says how",
        read=READ,
    )
    student.should(
        fcntl.fcntl(sock, fcntl.F_GETFL) & os.O_NONBLOCK,
        should="return a non-blocking socket",
        but="it is blocking",
        mistake="a blocking socket, or one made blocking again",
        read=READ,
    )


def nothing_left(student, call, opened):
    """No more than this many sockets may be open afterwards, and no socket may be left to the garbage collector."""
    student.should(
        len(call.audit.opened) <= opened and not call.unclosed,
        should="leave nothing open but the connection that it returns" if opened else "leave nothing open",
        but=f"left open: {', '.join(call.audit.opened.values()) or 'none'};"
        f" closed by the garbage collector: {len(call.unclosed)}",
        mistake="sockets that lost, or that failed, not closed",
        read=READ,
    )


def woken(student):
    """How often poll, or its like, has come back because something was ready."""
    polls = student.syscalls("poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait")
    return sum((call.result or 0) > 0 for call in polls)


def test_the_first_that_answers(student):
    """An address that does not answer does not keep from one that does."""
    harbour = Harbour()
    listener = harbour.listener()
    call = connect(
        student,
        [harbour.silent(), listener.getsockname(), harbour.silent()],
        10.0,
        "a silent address, one that answers, a silent one",
        hangs="one address after the other, or a connect that waits: the sockets must be non-blocking",
        timeout=2,
    )
    must_connect(student, call, listener)
    nothing_left(student, call, 1)
    gave = [one.error or "0" for one in student.syscalls("connect")]
    student.should(
        len(gave) > 1 and set(gave) == {"EINPROGRESS"},
        should="start the attempts side by side, by non-blocking connects, which give EINPROGRESS",
        but=f"the connects gave {', '.join(gave) or 'nothing: there was none'}",
        mistake="one address after the other",
        read=READ,
    )


def test_a_failure_is_not_the_end(student):
    """Addresses that fail are given up, and the others still waited for."""
    harbour = Harbour()
    listener = harbour.listener()
    call = connect(
        student,
        [harbour.unreachable(), harbour.refusing(), listener.getsockname()],
        2.0,
        "an unreachable address, one that refuses, one that answers",
    )
    must_connect(student, call, listener)
    nothing_left(student, call, 1)


def test_all_fail(student):
    """When all have failed, the error of one of them is raised, at once."""
    harbour = Harbour()
    call = connect(
        student, [harbour.refusing(), harbour.refusing()], 10.0, "two addresses that refuse",
        hangs="a failed attempt that is still waited for", timeout=2,
    )  # fmt: skip
    student.should(
        call.exception is not None and call.exception.type == "ConnectionRefusedError",
        should="raise ConnectionRefusedError",
        but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
        mistake="SO_ERROR not looked at, or its errno not raised: OSError(errno, os.strerror(errno)) picks the class",
        read=READ,
    )
    nothing_left(student, call, 0)


def test_nobody_answers_in_time(student):
    """When the time is over, TimeoutError is raised, after sleeping all the while."""
    harbour = Harbour()
    student.define(TIMED)
    call = student.call(
        "timed",
        [harbour.refusing(), harbour.silent()],
        SHORT_SECONDS,
        step=f"connect_first(an address that refuses, a silent one, timeout={SHORT_SECONDS:g})",
        hangs="a poll without a timeout",
        raises=True,
        read=READ,
        timeout=TIMED_SECONDS,
    )
    student.should(
        call.exception is None,
        should="raise TimeoutError",
        but=f"it raised {call.exception}",
        mistake="an older failure raised while another attempt is still running",
        read=READ,
    )
    waited = call.value
    student.should(
        isinstance(waited, float),
        should="raise TimeoutError",
        but="it returned",
        mistake="an attempt that is not over, or has failed, taken for a connection",
        read=READ,
    )
    student.should(
        waited >= SHORT_SECONDS,
        should=f"wait {SHORT_SECONDS:g} s before it gives up",
        but=f"it waited {waited:.3f} s",
        mistake="a timeout in the wrong unit: poll counts milliseconds",
        read=READ,
    )
    nothing_left(student, call, 0)
    student.should(
        woken(student) <= WAKES,
        should="sleep in poll until something new happens",
        but=lambda: f"poll came back {woken(student)} times because something was ready",
        mistake="a socket that has failed polled on: it is ready for ever, and the loop spins",
        read=READ,
    )

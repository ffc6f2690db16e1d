"""2.3 non-blocking by fcntl: one flag set, all others kept, the old ones given back."""

import errno
import fcntl
import os
import socket

import pytest

from chatlab.judge import Fd

pytestmark = pytest.mark.exercise("2.3")
READ = "Non-blocking"


def flags(descriptor):
    """The flags of the open file description, which the student's copy of the descriptor shares."""
    return fcntl.fcntl(descriptor, fcntl.F_GETFL)


def in_octal(value):
    """Flags as fcntl(2) and /proc/PID/fdinfo show them."""
    return f"{value:#o}" if isinstance(value, int) else repr(value)


def test_a_recv_does_not_wait_any_more(student):
    """After it the descriptor is non-blocking."""
    mine, theirs = socket.socketpair()
    student.call("set_nonblocking", Fd(theirs.fileno()))
    student.should(
        flags(theirs) & os.O_NONBLOCK,
        should="set O_NONBLOCK, so that a recv with nothing to read fails with EAGAIN",
        but=f"the flags are {flags(theirs):#o}, without O_NONBLOCK ({os.O_NONBLOCK:#o})",
        mistake="F_SETFD, which sets the descriptor's own flags: O_NONBLOCK is a file status flag, for F_SETFL",
        read=READ,
    )
    student.should(
        not flags(mine) & os.O_NONBLOCK, should="leave the other end alone", but="the other end is non-blocking too"
    )


def test_the_old_flags_are_given_back(student):
    """It returns the flags as they were before."""
    _mine, theirs = socket.socketpair()
    old = flags(theirs)
    call = student.call("set_nonblocking", Fd(theirs.fileno()))
    student.should(
        call.value == old,
        should=f"return the old flags, {old:#o}",
        but=f"it returned {in_octal(call.value)}",
        mistake="the new flags, or nothing, returned: with the old ones the caller can restore what was",
        read=READ,
    )


def test_a_second_time(student):
    """On a descriptor that is non-blocking already it changes nothing."""
    _mine, theirs = socket.socketpair()
    theirs.setblocking(False)
    old = flags(theirs)
    call = student.call("set_nonblocking", Fd(theirs.fileno()), step="set_nonblocking(a non-blocking descriptor)")
    student.should(
        flags(theirs) == old and call.value == old,
        should=f"leave the flags at {old:#o}, and return them",
        but=f"the flags are {flags(theirs):#o}, and it returned {in_octal(call.value)}",
        mistake="a flag toggled by ^ or +: set it by |",
        read=READ,
    )


def test_other_flags_stay(student):
    """Other flags, such as O_APPEND, stay."""
    path = student.scratch / "log"
    log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    before = flags(log)
    student.call("set_nonblocking", Fd(log), step="set_nonblocking(a file opened with O_APPEND)")
    after = flags(log)
    os.close(log)
    student.should(
        after == before | os.O_NONBLOCK,
        should="keep O_APPEND",
        but=f"the flags were {before:#o} and are {after:#o}; O_APPEND is {os.O_APPEND:#o}",
        mistake="F_SETFL with O_NONBLOCK alone, which clears every other flag: F_GETFL first, then |",
        read=READ,
    )


def test_a_closed_descriptor(student):
    """A closed descriptor is an error."""
    number = student.random.randrange(900, 1000)
    call = student.call("set_nonblocking", number, raises=True)
    student.should(
        call.exception is not None and call.exception.errno == errno.EBADF,
        should="raise OSError with errno EBADF",
        but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
        mistake="the error swallowed: in Python fcntl raises it, and the caller must see it",
        read=READ,
    )

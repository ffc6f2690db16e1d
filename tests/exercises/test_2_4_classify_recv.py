"""2.4 classify recv's outcomes: data, end, would block, error."""

import errno
import fcntl
import os
import socket

import pytest

pytestmark = pytest.mark.exercise("2.4")
READ = "The four outcomes of recv"


def classify(student, sock, n, mistake):
    """One call of classify_recv."""
    call = student.call(
        "classify_recv", sock, n, raises=True, hangs="a recv that waits: MSG_DONTWAIT makes it not wait", read=READ
    )
    student.should(
        call.exception is None,
        should="classify what recv did",
        but=f"it raised {call.exception}",
        mistake=mistake,
        read=READ,
    )
    return call.value


def _shown(value):
    """A result in words: the bytes are random, their number tells more."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], bytes):
        return f"({value[0]!r}, {len(value[1])} bytes)"
    return repr(value)


def test_data(student):
    """Data is data, at most n bytes of it."""
    mine, theirs = socket.socketpair()
    data = student.random.randbytes(40)
    n = student.random.randrange(5, 30)
    mine.sendall(data)
    student.step("send 40 bytes")
    value = classify(student, theirs, n, "an exception where there is none")
    student.should(
        value == ("data", data[:n]),
        should=f'return ("data", the first {n} bytes)',
        but=f"it returned {_shown(value)}",
        mistake="another number of bytes asked of recv than n, or another form of result",
        read=READ,
    )


def test_end_after_the_last_data(student):
    """The last data comes first, then the end."""
    mine, theirs = socket.socketpair()
    words = student.random.randbytes(7)
    mine.sendall(words)
    mine.close()
    student.step("send 7 bytes, and close")
    value = classify(student, theirs, 100, "an exception where there is none")
    student.should(
        value == ("data", words), should='return ("data", the 7 bytes)', but=f"it returned {value!r}", read=READ
    )
    value = classify(student, theirs, 100, "the end of file is no error")
    student.should(
        value == ("end", b""),
        should='return ("end", b"")',
        but=f"it returned {value!r}",
        mistake="b'' taken for data: an empty answer from recv is the end of file",
        read=READ,
    )


def test_nothing_there(student):
    """Nothing to read is neither an end nor an error, and the socket's mode stays."""
    for blocking in (False, True):
        _mine, theirs = socket.socketpair()
        theirs.setblocking(blocking)
        mode = "blocking" if blocking else "non-blocking"
        student.step(f"nothing is sent to a {mode} socket")
        value = classify(
            student, theirs, 100, "EAGAIN is no error of the connection's: there is just nothing to read yet"
        )
        student.should(
            value == ("would block", errno.EAGAIN),
            should=f'return ("would block", {errno.EAGAIN}), which is EAGAIN',
            but=f"it returned {value!r}",
            mistake="EAGAIN taken for an error or for the end, or told by a text and not by its errno",
            read=READ,
        )
        flags = fcntl.fcntl(theirs, fcntl.F_GETFL)
        student.should(
            bool(flags & os.O_NONBLOCK) is not blocking,
            should=f"leave the socket {mode}",
            but="its mode has changed, for everyone who holds a copy of it",
            mistake="setblocking, and never back: MSG_DONTWAIT holds for one call only",
            read="Non-blocking",
        )


def test_errors_carry_their_errno(student):
    """A reset is an error, with its errno, and not an end."""
    mine, theirs = socket.socketpair()
    theirs.sendall(b"nobody reads this")
    mine.close()
    student.step("close the other end while it holds unread bytes")
    value = classify(student, theirs, 100, "an error that is raised and not classified")
    student.should(
        value == ("error", errno.ECONNRESET),
        should=f'return ("error", {errno.ECONNRESET}), which is ECONNRESET',
        but=f"it returned {value!r}",
        mistake="ECONNRESET taken for the end: after it something was lost, after an end nothing was",
        read=READ,
    )
    with socket.socket() as unconnected:
        student.step("a TCP socket that was never connected")
        value = classify(student, unconnected, 100, "an error that is raised and not classified")
    student.should(
        value == ("error", errno.ENOTCONN),
        should=f'return ("error", {errno.ENOTCONN}), which is ENOTCONN',
        but=f"it returned {value!r}",
        mistake="only some errors classified: every OSError has an errno",
        read=READ,
    )


def test_zero_bytes_are_refused(student):
    """n = 0 is refused, since recv(0) looks like an end."""
    mine, theirs = socket.socketpair()
    mine.sendall(b"here is something")
    call = student.call("classify_recv", theirs, 0, raises=True)
    student.should(
        call.exception is not None and "ValueError" in call.exception.bases,
        should="raise ValueError for n = 0",
        but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}, though data is there",
        mistake="recv(0), whose b'' looks like end of file",
        read=READ,
    )

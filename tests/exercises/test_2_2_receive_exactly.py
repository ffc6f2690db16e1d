"""2.2 receive exactly n bytes: no fewer, no more."""

import fcntl
import socket
import struct
import termios

import pytest

pytestmark = pytest.mark.exercise("2.2")
READ = "Streams have no messages"


def unread(sock):
    """How many bytes sent on a unix socket nobody has received yet: SIOCOUTQ, which is TIOCOUTQ (unix(7), tcp(7))."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]


def started_with(student, first, n):
    """A call that has been given its first bytes, and has received them. Returns the judge's ends and the call."""
    mine, theirs = socket.socketpair()
    mine.sendall(first)
    student.step(f"send {len(first)} bytes to a socket")
    pending = student.start("receive_exactly", theirs, n)
    student.until(
        lambda audit: pending.done or not unread(mine),
        should="receive what has come, and wait for the rest",
        mistake="waiting until all of it is there",
    )
    return mine, theirs, pending


def shown(value):
    """A result in words: the bytes are random, their number tells more."""
    return f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)


def give(sock, data):
    """Send, if anybody still reads."""
    try:
        sock.sendall(data)
    except OSError:
        pass


def test_bytes_that_trickle_in(student):
    """Bytes that come one at a time are collected."""
    data = student.random.randbytes(student.random.randrange(12, 20))
    mine, _, pending = started_with(student, data[:5], len(data))
    student.step(f"send the other {len(data) - 5}, one at a time")
    for byte in data[5:]:
        give(mine, bytes([byte]))
    call = pending.result(hangs="a recv for bytes that are there already")
    student.should(
        call.value == data,
        should=f"return all {len(data)} bytes",
        but=f"it returned {shown(call.value)}",
        mistake="one recv, which gives what is there, taken for all",
        read=READ,
    )


def test_what_follows_stays_in_the_socket(student):
    """Not one byte of what follows is taken."""
    data, after = student.random.randbytes(student.random.randrange(12, 20)), student.random.randbytes(9)
    mine, theirs, pending = started_with(student, data[:5], len(data))
    student.step(f"send the other {len(data) - 5}, and {len(after)} more that belong to the next message")
    give(mine, data[5:] + after)
    call = pending.result(hangs="waiting for more than n bytes")
    left = theirs.recv(100, socket.MSG_DONTWAIT) if unread(mine) else b""
    student.should(
        (call.value, left) == (data, after),
        should=f"return {len(data)} bytes, and leave {len(after)} in the socket",
        but=f"it returned {len(call.value or b'')} bytes, and left {len(left)}",
        mistake="asking recv for more than is missing, such as for n again after a part has come",
        read=READ,
    )


def test_nothing_is_wanted(student):
    """For n = 0 nothing is read and nothing waited for."""
    _mine, theirs = socket.socketpair()
    call = student.call("receive_exactly", theirs, 0, raises=True, hangs="a recv although nothing is wanted", read=READ)
    student.should(
        call.value == b"" and call.exception is None,
        should="return b''",
        but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
        mistake="recv(0), whose b'' looks like end of file",
        read=READ,
    )


def test_the_end_comes_early(student):
    """End of file before n bytes is an error that says how many came."""
    for received in (student.random.randrange(2, 11), 0):
        n = student.random.randrange(12, 20)
        mine, theirs = socket.socketpair()
        mine.sendall(student.random.randbytes(received))
        mine.close()
        student.step(f"send {received} bytes to a socket, and close the other end")
        pending = student.start("receive_exactly", theirs, n)
        student.until(
            lambda audit, pending=pending: pending.done,
            should=f"see end of file, where recv gives b'' at once, and raise EndedEarly({received}, {n})",
            mistake="end of file not looked for",
            read=READ,
        )
        call = pending.result(raises=True)
        student.should(
            call.exception is not None and "EndedEarly" in call.exception.bases,
            should=f"raise EndedEarly({received}, {n})",
            but=f"it raised {call.exception}" if call.exception else f"it returned {shown(call.value)}",
            mistake="another exception than the one that the stub gives"
            if call.exception
            else "a short answer given out as if it were whole",
            read="When end of file comes",
        )
        student.should(
            call.exception.message == f"end of file after {received} of {n} bytes",
            should=f'say "end of file after {received} of {n} bytes"',
            but=f'it said "{call.exception.message}"',
            mistake="the wrong number: first how many came, then how many were wanted",
            read="When end of file comes",
        )

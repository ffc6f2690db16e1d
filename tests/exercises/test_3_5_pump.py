"""3.5 when splice cannot: bytes by splice while it works, the rest by hand, and nothing lost at the change."""

import fcntl
import os
import select
import socket
import subprocess
import tempfile

import pytest

from chatlab.judge import Fd

pytestmark = pytest.mark.exercise("3.5")
READ = "When splice cannot"
TRIES = 2  # EINVALs of splice that are one too many: the first one is the answer


def started(student, source_fd, target_fd, words):
    """pump at work."""
    return student.start("pump", Fd(source_fd), Fd(target_fd), step=f"pump({words})")


def received(sock, pending, size):
    """What arrives at a socket, up to size bytes, until pump is back and nothing more is there."""
    got = bytearray()
    while len(got) < size:
        if select.select([sock], [], [], 0.02)[0]:
            got += sock.recv(1 << 18)
        elif pending.done and not select.select([sock], [], [], 0)[0]:
            break
    return bytes(got)


def must_return(student, pending, counts, data, got):
    """All of data must have arrived in order, pump must return these counts, and leave no pipe behind."""
    call = pending.result(raises=True, hangs="a splice or read of the pipe when it is empty", read=READ)
    student.should(
        call.exception is None,
        should="come back with all bytes moved",
        but=f"it raised {call.exception}",
        mistake="EINVAL not caught: it says that splice cannot do it here, and read and write can",
        read=READ,
    )
    student.should(
        got == data,
        should=f"move {len(data)} bytes, each once, in order",
        but=f"{len(got)} bytes arrived" + ("" if len(got) != len(data) else ", others"),
        mistake="bytes lost or repeated at the change from splice to write: first what is in the pipe",
        read=READ,
    )
    student.should(
        call.value == counts,
        should=f"return {counts}: bytes spliced to the target, bytes written to it",
        but=f"it returned {call.value!r}",
        mistake="read and write where splice works"
        if call.value == (0, len(data))
        else "bytes counted as spliced when they enter the pipe: they are not at the target yet",
        read=READ,
    )
    student.should(
        not call.audit.opened and not call.audit.closed and not call.unclosed,
        should="close its pipe, and nothing else",
        but=f"left open: {', '.join(call.audit.opened.values()) or 'none'};"
        f" closed: {', '.join(call.audit.closed.values()) or 'none'}",
        mistake="a pipe left open, or a descriptor closed that is the caller's",
        read=READ,
    )


def must_not_insist(student):
    """After the first EINVAL splice must not be called again."""
    failed = [call for call in student.syscalls("splice") if call.error == "EINVAL"]
    student.should(
        failed, should="try splice first", but="it was never called", mistake="read and write alone", read=READ
    )
    student.should(
        len(failed) < TRIES,
        should="call splice no more after the first EINVAL",
        but=f"{len(failed)} splices gave EINVAL",
        mistake="splice tried again for each piece: what it could not do once, it cannot do",
        read=READ,
    )


def test_splice_where_it_works(student):
    """From a file to a connection every byte goes by splice."""
    data = student.random.randbytes(student.random.randrange(150_000, 250_000))
    mine, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        pending = started(student, file.fileno(), theirs.fileno(), f"a file of {len(data)} bytes, a socket")
        got = received(mine, pending, len(data))
    must_return(student, pending, (len(data), 0), data, got)
    moved = sum(call.result or 0 for call in student.syscalls("splice"))
    student.should(
        moved == 2 * len(data),
        should=f"splice {len(data)} bytes into the pipe, and as many out of it",
        but=f"the splices moved {moved} bytes in all",
        mistake="read and write where splice works, beside it",
        read="Splice and short moves",
    )


def test_a_source_that_splice_refuses(student):
    """From a file under /proc the bytes are read and written."""
    text = b"CHAT=" + student.random.randbytes(45_000).hex().encode()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={"CHAT": text[5:].decode()}) as other:
        source = os.open(f"/proc/{other.pid}/environ", os.O_RDONLY)
        mine, theirs = socket.socketpair()
        pending = started(student, source, theirs.fileno(), "/proc/PID/environ, a socket")
        got = received(mine, pending, len(text) + 1)
        os.close(source)
    must_return(student, pending, (0, len(text) + 1), text + b"\0", got)
    must_not_insist(student)


def test_a_change_on_the_way(student):
    """When splice stops working on the way, what is in the pipe is neither lost nor repeated."""
    first, second, third = (student.random.randbytes(student.random.randrange(3000, 9000)) for _ in range(3))
    path = student.scratch / "log"
    target = os.open(path, os.O_RDWR | os.O_CREAT)
    reading, writing = os.pipe()
    pending = started(student, reading, target, "a pipe, a file")
    student.step(f"write {len(first)} bytes into the pipe")
    os.write(writing, first)
    student.until(
        lambda audit: path.stat().st_size == len(first),
        should=f"move the {len(first)} bytes that are there to the file",
        but=lambda audit: f"the file has {path.stat().st_size} bytes; {audit.describe()}",
        mistake="waiting for more than is there",
        read=READ,
    )
    student.step("set O_APPEND on the file, so that splice to it gives EINVAL from now on")
    fcntl.fcntl(target, fcntl.F_SETFL, os.O_APPEND)
    for data in (second, third):
        student.step(f"write {len(data)} bytes into the pipe")
        os.write(writing, data)
    os.close(writing)
    data = first + second + third
    must_return(student, pending, (len(first), len(second) + len(third)), data, finished(student, pending, path))
    must_not_insist(student)


def finished(student, pending, path):
    """The file's bytes once pump is back."""
    student.until(
        lambda audit: pending.done, should="come back at end of file", mistake="end of file not looked for", read=READ
    )
    return path.read_bytes()


def test_other_errors_are_raised(student):
    """Another error than EINVAL is raised as it is, and the pipe is closed then too."""
    reading, writing = os.pipe()
    os.close(reading)
    with tempfile.TemporaryFile() as file:
        file.write(b"nobody reads this\n")
        file.seek(0)
        call = student.call(
            "pump", Fd(file.fileno()), Fd(writing), step="pump(a file, a pipe that nobody reads)", raises=True
        )
    student.should(
        call.exception is not None and call.exception.type == "BrokenPipeError",
        should="raise BrokenPipeError",
        but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
        mistake="every OSError taken for EINVAL, or swallowed",
        read=READ,
    )
    student.should(
        not call.audit.opened and not call.unclosed,
        should="close its pipe, also when it fails",
        but=f"left open: {', '.join(call.audit.opened.values()) or 'none'}",
        mistake="a pipe closed only where all goes well: that is what finally is for",
        read=READ,
    )

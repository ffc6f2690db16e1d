"""3.3 half-close at the end of input: both directions in one poll, and an end that does not end the answer."""

import os
import select
import socket
import tempfile

import pytest

from chatlab.judge import Fd

pytestmark = pytest.mark.exercise("3.3")
READ = "Half-close"
SMALL_BUFFER = 16384  # bytes; so that a few hundred kB fill every buffer on the way
LOOK_SECONDS = 0.05
STALL_SECONDS = 2.0


def connection():
    """Both ends of a TCP connection with small buffers: the student's, the peer's."""
    with socket.socket() as listener, socket.socket() as ours:
        for sock in (listener, ours):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours.connect(listener.getsockname())
        return ours.dup(), listener.accept()[0]


def started(student, sock, source_fd, source):
    """ask(sock, source) at work."""
    return student.start("ask", sock, Fd(source_fd), step=f"ask(a connection, {source})")


def is_sent(student, peer, line, mistake):
    """The peer must receive this line next."""
    ready = select.select([peer], [], [], STALL_SECONDS * student.scale)[0]
    got = peer.recv(len(line)) if ready else b""
    student.should(
        got == line,
        should="send it to the peer",
        but=lambda: f"the peer received {got!r}; {student.audit().describe()}" if got else student.audit().describe(),
        mistake=mistake,
        read=READ,
    )


def end_is_told(student, peer, pending):
    """The peer must see end of file next."""
    should, unsaid = "let the peer see end of file", "no shutdown(SHUT_WR) at the source's end: the peer waits for more"
    if select.select([peer], [], [], STALL_SECONDS * student.scale)[0]:
        student.receives_end(peer, should=should, mistake=unsaid, read=READ)
        return
    error = pending.result(raises=True).exception if pending.done else None
    student.should(
        False,
        should=should,
        but=f"it raised {error}" if error else lambda: student.audit().describe(),
        mistake="close where shutdown(SHUT_WR) belongs: nothing can be received after it" if error else unsaid,
        read=READ,
    )


def returned(student, pending, said, mistake):
    """ask must return what the peer has said, and leave what it was given as it was."""
    call = pending.result(
        hangs="a side waited for that has ended already, or nobody looking for the peer's end", read=READ
    )
    student.should(
        call.value == said,
        should=f"return all {len(said)} bytes that the peer has said",
        but=f"it returned {len(call.value)} bytes" if isinstance(call.value, bytes) else f"it returned {call.value!r}",
        mistake=mistake,
        read=READ,
    )
    closed, opened = ", ".join(call.audit.closed.values()), ", ".join(call.audit.opened.values())
    student.should(
        not closed and not opened,
        should="leave open what it was given, and nothing else",
        but=f"closed: {closed or 'none'}; left open: {opened or 'none'}",
        mistake="close where shutdown belongs: the socket and the source are the caller's",
        read=READ,
    )


def test_a_conversation(student):
    """What comes is sent at once, the end is told, and the answer after it is received."""
    ours, peer = connection()
    ours.setblocking(student.random.choice([True, False]))
    mode = os.get_blocking(ours.fileno())
    reading, writing = os.pipe()
    pending = started(student, ours, reading, "a pipe")
    for _ in range(2):
        line = b"line %d\n" % student.random.randrange(10**6)
        student.step(f"write {line!r} into the pipe")
        os.write(writing, line)
        is_sent(
            student, peer, line, "the source collected to its end before anything is sent: a person types for hours"
        )
    student.step("the pipe's writer closes")
    os.close(writing)
    end_is_told(student, peer, pending)
    answer = b"answer %d\n" % student.random.randrange(10**6)
    student.step(f"the peer answers {answer!r} and closes")
    peer.sendall(answer)
    peer.close()
    returned(student, pending, answer, "leaving at the source's end: after a half-close the peer may still talk")
    student.should(
        os.get_blocking(ours.fileno()) == mode,
        should="leave the socket's mode as it was",
        but="it has changed, for everyone who holds a copy of it",
        mistake="setblocking, and never back: MSG_DONTWAIT holds for one call only",
        read=READ,
    )


def test_an_answer_while_it_sends(student):
    """A peer that answers each piece before it reads the next is heard while it is being sent to."""
    data = student.random.randbytes(student.random.randrange(300_000, 400_000))
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        ours, peer = connection()
        pending = started(student, ours, file.fileno(), f"a file of {len(data)} bytes")
        student.step("the peer sends each piece back before it reads the next")
        got = echo(student, peer, pending)
        peer.close()
    student.should(
        got == data,
        should=f"send the {len(data)} bytes of the file, in order",
        but=f"{len(got)} bytes came" + ("" if len(got) != len(data) else ", others"),
        mistake="send's result not looked at: it may take a part",
        read=READ,
    )
    returned(student, pending, data, "words of the peer thrown away while sending")


def echo(student, peer, pending):
    """What the peer receives until end of file, all of it sent back, piece by piece. A deadlock fails the check."""
    peer.setblocking(False)
    got, rest, patience = b"", b"", STALL_SECONDS * student.scale
    while True:
        readable, writable, _ = select.select([] if rest else [peer], [peer] if rest else [], [], LOOK_SECONDS)
        if writable:
            rest = rest[peer.send(rest) :]
        elif readable:
            rest = peer.recv(65536)
            got += rest
            if not rest:
                return got
        elif pending.done:
            return got
        else:
            patience -= LOOK_SECONDS
            student.should(
                patience > 0,
                should="receive while it sends: the peer does not read on before its words are taken",
                but=lambda: f"nothing moves any more: {student.audit().describe()}",
                mistake="a deadlock: a send that waits, while nobody receives",
                read=READ,
            )
        if readable or writable:
            patience = STALL_SECONDS * student.scale


def test_the_peer_ends_first(student):
    """A peer that ends its half first is still sent everything, and nobody spins meanwhile."""
    ours, peer = connection()
    reading, writing = os.pipe()
    pending = started(student, ours, reading, "a pipe")
    said = b"said %d\n" % student.random.randrange(10**6)
    student.step(f"the peer says {said!r}, half-closes, and reads on; nothing is in the pipe yet")
    peer.sendall(said)
    peer.shutdown(socket.SHUT_WR)
    student.sleeps(
        should="sleep in poll until there is something to do",
        mistake="a side that has ended polled on: it is ready for ever",
        read="What poll says",
    )
    line = b"line %d\n" % student.random.randrange(10**6)
    student.step(f"write {line!r} into the pipe, and close it")
    os.write(writing, line)
    os.close(writing)
    is_sent(student, peer, line, "leaving at the peer's end: it has ended its half, and may still read")
    end_is_told(student, peer, pending)
    returned(student, pending, said, "the peer's words lost at its end")

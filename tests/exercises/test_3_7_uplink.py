"""3.7 drain the pipe after short moves: the judge's loop polls, the student's object moves and says what to poll."""

import os
import select
import socket
import subprocess
import tempfile
from select import POLLIN, POLLOUT

import pytest

from chatlab.judge import Fd

pytestmark = pytest.mark.exercise("3.7")
READ = "Splice and short moves"
SMALL_BUFFER = 8192  # bytes; so that moves are short
READER_BYTES = 20_000  # what a slow reader takes at a time
LOOK_SECONDS = 0.05
STALL_SECONDS = 2.0
TURN_SECONDS = 2
WAITS = "a splice that waits, from a source that is not ready or into a pipe that is full"
EVENTS = {0: "0", POLLIN: "POLLIN", POLLOUT: "POLLOUT"}

HELPERS = """
import select

def drive(uplink, source_fd, sock, turns=3000):
    "Poll and turn until it is done. Returns how many turns are left, and (events, left) where these disagree."
    wrong = []
    while turns and not uplink.done:
        turns -= 1
        events = tuple(uplink.events())
        if events != ((0, select.POLLOUT) if uplink.left else (select.POLLIN, 0)):
            wrong.append((*events, uplink.left))
        poller = select.poll()
        for fd, wanted in zip((source_fd, sock.fileno()), events):
            if wanted:
                poller.register(fd, wanted)
        found = dict(poller.poll())
        uplink.turn(found.get(source_fd, 0), found.get(sock.fileno(), 0))
    return turns, wrong[:1]
"""


def connection():
    """Both ends of a TCP connection with small buffers: the student's, non-blocking, and the peer's."""
    with socket.socket() as listener:
        ours = socket.socket()
        for sock in (listener, ours):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours.connect(listener.getsockname())
        ours.setblocking(False)
        return ours, listener.accept()[0]


def shown(events):
    """What events() gave, as people read it."""
    if isinstance(events, tuple) and all(isinstance(one, int) for one in events):
        return f"({', '.join(EVENTS.get(one, repr(one)) for one in events)})"
    return repr(events)


class Driven:
    """An Uplink with a source and a socket that the judge holds too."""

    def __init__(self, student, source_fd):
        self.student, self.source_fd = student, source_fd
        self.sock, self.peer = connection()
        student.define(HELPERS)
        self.uplink = student.new("Uplink", Fd(source_fd), self.sock)

    def polls_for(self, *wanted, mistake):
        """events() must give this pair."""
        events = self.uplink.call("events").value
        self.student.should(
            events == wanted,
            should=f"ask for {shown(wanted)}, of source and socket",
            but=f"it asked for {shown(events)}",
            mistake=mistake,
            read=READ,
        )

    def turn(self, source_revents, words, mistake=""):
        """One call of turn, which must not wait, nor raise."""
        call = self.uplink.call(
            "turn",
            source_revents,
            0,
            step=f"turn({words}, 0)",
            hangs=WAITS,
            raises=True,
            read=READ,
            timeout=TURN_SECONDS,
        )
        self.student.should(
            call.exception is None, should="return", but=f"it raised {call.exception}", mistake=mistake, read=READ
        )

    def is_done(self, wanted):
        """The attribute done must be this."""
        done = self.uplink.get("done")
        self.student.should(done is wanted, should=f"have done = {wanted} now", but=f"it is {done!r}", read=READ)

    def drive(self):
        """Start the loop that polls and turns."""
        step = "poll for what events() says and call turn, again and again until it is done"
        return self.student.start("drive", self.uplink, Fd(self.source_fd), self.sock, step=step)

    def arrives(self, pending, data, mistake):
        """The peer must receive all of data in order, and then end of file, while the loop runs; a stall fails."""
        got, ended = self._received(pending, mistake)
        call = pending.result(raises=True, hangs=WAITS, read=READ)
        self.student.should(
            call.exception is None,
            should="go on until the source has ended",
            but=f"it raised {call.exception}",
            mistake=mistake,
            read=READ,
        )
        turns, wrong = call.value
        if wrong:
            self._must_agree(*wrong[0])
        self.student.should(
            turns,
            should="be done after a few turns for each move",
            but="3000 turns were not enough",
            mistake="a spin: an end of the source (HUP) that is not looked at, or poll asked for what is always ready",
            read="What poll says",
        )
        self.student.should(
            got == data and ended,
            should=f"let the peer see {len(data)} bytes, in order, and then end of file",
            but=f"{len(got)} bytes came{'' if len(got) != len(data) else ', others' * (got != data)},"
            f" {'and' if ended else 'and no'} end of file",
            mistake=mistake,
            read=READ,
        )
        self.is_done(True)

    def _must_agree(self, source_events, sock_events, left):
        wanted = (0, POLLOUT) if left else (POLLIN, 0)
        self.student.should(
            False,
            should=f"ask for {shown(wanted)} while left is {left!r}",
            but=f"it asked for {shown((source_events, sock_events))}",
            mistake="POLLOUT belongs to what is left, and only to that: else poll comes back at once, for ever"
            if sock_events and not left
            else "a source polled while the pipe holds something: the next splice may wait, or overtake",
            read=READ,
        )

    def _received(self, pending, mistake):
        """What the peer receives, a little at a time: the bytes, and whether it saw end of file."""
        got, patience = b"", STALL_SECONDS * self.student.scale
        while True:
            if select.select([self.peer], [], [], LOOK_SECONDS)[0]:
                data = self.peer.recv(READER_BYTES)
                if not data:
                    return got, True
                got, patience = got + data, STALL_SECONDS * self.student.scale
                continue
            # Once turn is back for the last time, the rest is the kernel's affair: it needs no student to arrive.
            patience -= LOOK_SECONDS * (3 if pending.done else 1)
            if patience <= 0 and pending.done:
                return got, False
            self.student.should(
                patience > 0,
                should="go on as soon as the peer reads again",
                but=lambda: f"nothing moves any more: {self.student.audit().describe()}",
                mistake=f"{mistake}; or something left that nobody polls for (POLLOUT)",
                read=READ,
            )

    def falls_asleep(self):
        """The loop must come to sleep, since the peer does not read."""
        self.student.sleeps(
            should="sleep in poll while the peer reads nothing",
            mistake="a loop around splice that tries again until everything is gone",
            read=READ,
        )


def test_a_typed_line(student):
    """A typed line goes at once, by splice, and nothing is waited for."""
    reading, writing = os.pipe()
    driven = Driven(student, reading)
    driven.polls_for(POLLIN, 0, mistake="POLLOUT with nothing to send: poll comes back at once, for ever")
    driven.turn(0, "0")
    line = b"line %d\n" % student.random.randrange(10**6)
    student.step(f"write {line!r} into the source, a pipe")
    os.write(writing, line)
    driven.turn(POLLIN, "POLLIN")
    student.receives(driven.peer, line, mistake="a line that waits for the next turn", read=READ)
    driven.polls_for(POLLIN, 0, mistake="left not counted down by what splice has moved")
    splices = student.syscalls("splice")
    student.should(
        sum(call.result or 0 for call in splices) == 2 * len(line),
        should="splice the line into the pipe, and out of it",
        but=f"the splices moved {sum(call.result or 0 for call in splices)} bytes in all",
        mistake="read and write where splice works",
        read=READ,
    )
    student.should(
        not any("SPLICE_F_MORE" in call.text for call in splices),
        should="splice without SPLICE_F_MORE",
        but="the kernel was told that more follows, and keeps a typed line for about 0.2 s",
        mistake="SPLICE_F_MORE, as in the textbook",
        read=READ,
    )


def test_short_moves(student):
    """A slow reader gets everything in order, and the loop sleeps whenever nothing can move."""
    data = student.random.randbytes(student.random.randrange(200_000, 250_000))
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        student.step(f"the source is a file of {len(data)} bytes, and the peer does not read yet")
        driven = Driven(student, file.fileno())
        pending = driven.drive()
        driven.falls_asleep()
        student.step("the peer reads, slowly")
        driven.arrives(pending, data, "a short move taken for a whole one: splice returns how much it has moved")


def test_the_end_comes_last(student):
    """The half-close comes after the last byte, and the connection and the source stay open."""
    data = student.random.randbytes(60_000)
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    student.step("the source is a pipe with 60000 bytes, its writer is gone, and the peer does not read yet")
    driven = Driven(student, reading)
    early = "a half-close before the last byte: what is left in the pipe can be sent no more"
    driven.turn(POLLIN | select.POLLHUP, "POLLIN|POLLHUP", early)
    driven.polls_for(
        0, POLLOUT, mistake="what the socket did not take forgotten, or the source polled while it is there"
    )
    driven.is_done(False)
    driven.arrives(driven.drive(), data, early)
    driven.polls_for(0, 0, mistake="polling on when all is done: HUP comes back at every poll, for ever")
    closed = [len(driven.uplink.call("close").audit.closed) for _ in range(2)]
    student.should(
        closed == [2, 0],
        should="close the two ends of its pipe, and nothing else, once",
        but=f"the first close() closed {closed[0]} descriptors, the second {closed[1]}",
        mistake="a pipe that stays open, or the caller's socket or source closed",
        read=READ,
    )
    answer = b"answer %d\n" % student.random.randrange(10**6)
    student.step(f"the peer answers {answer!r}")
    driven.peer.sendall(answer)
    student.receives(
        driven.sock,
        answer,
        should="leave the other half open: the answer is still to come",
        mistake="SHUT_RDWR, or a close, where only the sending half has ended",
        read="Half-close",
    )


def test_a_source_that_splice_refuses(student):
    """/dev/null, and a file under /proc, are read, and what comes goes through the pipe."""
    text = student.random.randbytes(15_000).hex()
    refused = "EINVAL from splice not caught: this source must be read"
    with (
        open("/dev/null", "rb") as null,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={"CHAT": text}) as other,
        open(f"/proc/{other.pid}/environ", "rb", buffering=0) as environ,
    ):
        for source, words, data in (
            (null, "/dev/null", b""),
            (environ, "/proc/PID/environ", f"CHAT={text}\0".encode()),
        ):
            student.step(f"the source is {words}")
            driven = Driven(student, source.fileno())
            driven.arrives(driven.drive(), data, refused)

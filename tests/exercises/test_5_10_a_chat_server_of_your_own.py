"""5.10 a chat server of your own: a process for each client, held against cases of the conformance suite and more."""

import os
import select
import socket
import time

import pytest

from chatlab import procfs
from chatlab.load import LoadError
from tests.conformance import looks
from tests.conformance.children import FORK_CASES
from tests.conformance.room import DoesNotApply, Fault, Room, frozen, kill
from tests.conformance.scenarios import SCENARIOS

pytestmark = pytest.mark.exercise("5.10")
READ = "The journey of a line"
PIECES = "; if 5.1, 5.5, 5.7, 5.8 or 5.9 fails too, begin there"
WAIT_SECONDS = 3.0  # for one answer of the server
LAST_WORD_SECONDS = 0.3
BUFFER_BYTES = 32768  # each socket buffer of a room with bounded buffers: the kernel doubles it
LINES = [b"%07d" % number + b"." * 992 + b"\n" for number in range(1500)]  # more than buffers and rings hold, by far
QUIET_SECONDS = 0.15  # nothing can be said for so long, twice, and the server sleeps between: so it does not read
SLOT = "a slot given to a newcomer with what its last owner had not said, or not heard, still in it"
NOT_FREE = "a slot that is not free again when its client has gone"
RINGS = 3  # bytes: a ring is one, and a number or two would do
CASES = {
    "lines": ("byte_at_a_time", "many_lines_in_one_segment", "not_echoed", "two_senders_do_not_mix", "every_byte"),
    "turns": ("several_in_one_turn", "order_of_each_sender", "line_of_60_kb"),
    "ends": ("send_and_close", "unterminated_last_line", "unterminated_text_after_reset", "reset_harms_nobody"),
    "children": ("child_holds_only_its_own", "killed_child_costs_its_client_only", "frozen_child_catches_up"),
    "sleep": ("rests_after_talk", "rests_beside_one_that_has_gone"),
}


class Serving:
    """A server at work in the student's process. The listener is the judge's, who can reach no other one there."""

    def __init__(self, student, max_clients=50, bounded=False):
        self.student = student
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        if bounded:  # the kernel takes little for each connection: what accept gives has the listener's sizes, tcp(7)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                self.listener.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        step = f"serve(a listener, {max_clients})"
        self.pending = student.start("serve", self.listener, max_clients, step=step)
        student.until(
            lambda audit: self.pending.done or audit.own.state == "S",
            should="sleep in epoll until somebody comes",
            mistake="a poll that does not wait" + PIECES,
            read=READ,
        )
        self.pid = self._pid_here()

    def _pid_here(self):
        """The student's process as it is numbered here, outside of its namespace: it has the listener, too."""
        name = os.readlink(f"/proc/self/fd/{self.listener.fileno()}")
        others = (pid for pid in procfs.processes() if pid != os.getpid())
        return next((pid for pid in others if name in procfs.descriptors(pid).values()), None)

    def run(self, story):
        """Let story(room) happen. What is not as it should be fails the check, in the fault's own words."""
        with Room(self.listener.getsockname(), self.pid, timeout=WAIT_SECONDS) as room:
            try:
                story(room)
            except Fault as fault:
                self.should(False, should=fault.should, but=fault.but, mistake=fault.mistake)
            except DoesNotApply as error:
                self.should(
                    False,
                    should="have a process for each client, which holds its connection",
                    but=str(error),
                    mistake="clients served by the parent",
                )
            except (LoadError, ConnectionError) as error:
                self.should(False, should="serve its clients", but=str(error))
            self.should(not self.pending.done, should="go on serving")

    def case(self, case):
        """Run a case of the conformance suite, in a room of its own."""
        self.student.step(case.title)
        self.run(case.run)

    def should(self, ok, should, but="", mistake=""):
        """As student.should: but an exception explains more, and the mistake may be in one of the pieces."""
        if not ok and self._has_ended():
            call = self.pending.result(raises=True)
            should = "serve, and never return"
            but = f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}"
            mistake = "an error of one client that ends the room" if call.exception else "a last turn"
        self.student.should(ok, should=should, but=but, mistake=(mistake + PIECES).removeprefix("; "), read=READ)

    def _has_ended(self):
        """Whether serve has ended. What its clients see of that may be faster than its last word to the judge."""
        patience = time.monotonic() + LAST_WORD_SECONDS * self.student.scale
        while not self.pending.done and time.monotonic() < patience:
            time.sleep(0.01)
        return self.pending.done


def test_lines(student):
    """Lines go to everyone but their sender, whole and untouched."""
    server = Serving(student)
    for name in CASES["lines"]:
        server.case(SCENARIOS[name])


def test_order(student):
    """Many who speak at once are all heard, each in its own order."""
    server = Serving(student)
    for name in CASES["turns"]:
        server.case(SCENARIOS[name])


def test_ends(student):
    """What a client has said is heard when it has gone: all after FIN, whole lines after a reset."""
    server = Serving(student)
    for name in CASES["ends"]:
        server.case(SCENARIOS[name])


def test_a_line_without_an_end(student):
    """Who says 65,536 bytes of a line without its end is closed; the lines before it are delivered."""
    server = Serving(student)

    def story(room):
        talker, reader, other = room.join(3)
        student.step("a client says b'before\\n', and 65,536 bytes of a line without its end")
        talker.send(b"before\n" + b"x" * 65_536)
        room.receives(reader, b"before\n", mistake="the lines before the one that is too long are lost")
        must_end(talker, "close it", "a line that is kept without bound, until memory is full")
        other.send_line(b"good riddance")
        room.receives(reader, b"good riddance\n", mistake="what is left of the line is passed on")

    server.run(story)


@pytest.mark.parametrize("name", CASES["children"])
def test_children(student, name):
    """Each client has a process of its own, which may be killed or stopped, and holds nothing of the others."""
    Serving(student).case(FORK_CASES[name])


def test_everybody_sleeps(student):
    """When nothing happens parent and children sleep."""
    server = Serving(student)
    for name in CASES["sleep"]:
        server.case(SCENARIOS[name])


def test_words_go_through_memory(student):
    """What is said goes through shared memory without a name; on the socketpairs there are rings."""
    server = Serving(student)

    def story(room):
        sender, reader = room.join(2)
        said = b"".join(b"%d bottles on the wall\n" % number for number in range(400))
        student.step(f"a client says {len(said)} bytes")
        sender.send(said)
        room.receives(reader, said, mistake="a line that never leaves its child")

    server.run(story)
    segments = student.audit().segments
    server.should(
        not segments,
        should="make a shared memory that has no name: mmap.mmap(-1, size)",
        but=f"{', '.join(segments)} is in /dev/shm",
        mistake="a segment with a name: a second server finds it, and it is left behind when this one is killed",
    )
    large = [message for message in student.trace().messages if message.via == "socketpair" and message.size > RINGS]
    server.should(
        not large,
        should="send rings over the socketpairs, and nothing else",
        but=lambda: f"{len(large)} messages went over them, one of {max(each.size for each in large)} bytes",
        mistake="what is said sent to the parent, and from it: the kernel copies it twice on each way",
    )


def test_slots_are_used_again(student):
    """A slot is free again when its client has gone, and its next owner hears nothing of the last."""
    server = Serving(student, max_clients=3)

    def story(room):
        speaker, reader = room.join(2)
        for number in range(3):
            visitor = room.connect()
            room.admit([visitor, reader])
            student.step("the room of three is full, and a fourth comes")
            must_end(room.connect(), "close a newcomer beyond max_clients", "more let in than there are slots")
            student.step("a client's child is stopped when it has said half a line; much is said; the child is killed")
            said = b"%d: words that nobody reads there\n" % number * 50
            visitor.send(b"first words\nhalf a line")
            room.receives(reader, b"first words\n", mistake="lines that wait for the end of another")
            [child] = looks.children_of(room, [visitor])
            with frozen(child):
                speaker.send(said)
                room.receives(reader, said, mistake="a room that waits for one child, although its ring is not full")
                kill(child)
            gone(room, 3)
            room.settle(speaker, reader)
            student.step("somebody else comes, and gets its slot")
            newcomer = room.connect()
            newcomer.send_line(b"good morning")
            room.receives(reader, b"good morning\n", mistake=f"{NOT_FREE}; or {SLOT}")
            speaker.send_line(b"welcome")
            room.receives(reader, b"welcome\n", mistake=SLOT)
            room.receives(newcomer, b"welcome\n", mistake=SLOT)
            newcomer.close()
            gone(room, 3)

    server.run(story)


def must_end(client, should, mistake):
    """Its connection must be closed, or reset."""
    try:
        client.ended()
    except LoadError as error:
        raise Fault(should, str(error), mistake) from error


def gone(room, processes):
    """Wait until so many processes are left: the children that have ended are waited for."""
    for _ in looks.tries(room):
        if len(looks.tree(room)) <= processes:
            return
    left = len(looks.tree(room))
    raise Fault(
        f"have {processes} processes left, the parent's and a child for each client",
        f"there are {left}, {len(looks.zombies(room))} of them zombies",
        "a child that stays when its client has gone, or is not waited for",
    )


class Talker:
    """A client that says LINES as far as the server takes them, without waiting."""

    def __init__(self, client):
        self.socket = client.socket
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self.socket.setblocking(False)
        self.left = memoryview(b"".join(LINES))

    def say(self, seconds):
        """Say as much as goes, until nothing has gone for so long, or all is said."""
        while self.left and select.select([], [self.socket], [], seconds)[1]:
            self.left = self.left[self.socket.send(self.left[: 1 << 18]) :]


def test_a_slow_reader_loses_nothing(student):
    """While somebody does not read, senders wait, everybody sleeps, and nothing is lost."""
    server = Serving(student, bounded=True)

    def story(room):
        speaker, late = room.join(2, receive_buffer=BUFFER_BYTES)
        student.step(f"a client says {len(LINES)} lines of 1000 bytes, and the only other one does not read")
        talker = Talker(speaker)
        talker.say(QUIET_SECONDS)
        looks.rests(room, "a child that asks again and again whether there is room: it is told by a ring")
        talker.say(QUIET_SECONDS)
        room.should(
            talker.left,
            should="let it wait, when the rings are full",
            but=f"the server has taken all {len(LINES)} lines",
            mistake="a parent that reads on although somebody's ring is full: what has no room is lost, or piles up",
        )
        student.step("now the other reads")
        wanted, got = b"".join(LINES), bytearray(late.arrived())
        deadline = time.monotonic() + student.remaining() - 1
        while len(got) < len(wanted) and time.monotonic() < deadline:
            talker.say(0)
            if select.select([late.socket], [], [], 0.02)[0]:
                data = late.socket.recv(1 << 18)
                got += data
                if not data:
                    break
        room.should(
            got == wanted,
            should=f"deliver all {len(LINES)} lines, in order",
            but=f"{got.count(10)} came"
            + ("" if wanted.startswith(got) else ", and they are not the first ones, in order"),
            mistake="what a full ring did not take is thrown away, or nobody rings when there is room again",
        )

    server.run(story)

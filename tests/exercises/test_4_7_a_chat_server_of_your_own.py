"""4.7 a chat server of your own: the pieces put together, held against the conformance suite's quick cases and more."""

import select
import socket
import time

import pytest

from chatlab.load import LoadError
from tests.conformance.room import Fault, Room
from tests.conformance.scenarios import SCENARIOS

pytestmark = pytest.mark.exercise("4.7")
READ = "One turn of the loop"
LEAVING = "How a client leaves"
STUCK = "A reader that does not read"
NEWCOMERS = "Accept until there is nobody"
PIECES = "; if 4.2, 4.3, 4.4, 4.5 or 4.6 fails too, begin there"
WAIT_SECONDS = 3.0  # for one answer of the server
LAST_WORD_SECONDS = 0.3
MOST_IDLE_POLLS = 5  # a deadline may come meanwhile; a loop that spins polls hundreds of times
BUFFER_BYTES = 32768  # each socket buffer of a room with bounded buffers: the kernel doubles it
QUEUE_BYTES = 65536
CASES = (  # of the conformance suite
    "byte_at_a_time",
    "many_lines_in_one_segment",
    "not_echoed",
    "two_senders_do_not_mix",
    "several_in_one_turn",
    "every_byte",
)
LINES = [b"%07d" % number + b"." * 992 + b"\n" for number in range(3000)]  # more than all buffers hold, by far
QUIET_SECONDS = 0.15  # nothing can be said for so long, twice, and the server sleeps between: so it does not read

HELPERS = """
import fcntl, resource

def serve_with_few_descriptors(count, listener, *limits):
    number = 0
    while count:
        try:
            fcntl.fcntl(number, fcntl.F_GETFD)
        except OSError:
            count -= 1
        number += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    serve(listener, *limits)
"""


class Serving:
    """A server at work in the student's process. The listener is the judge's, who can reach no other one there."""

    def __init__(self, student, max_clients=100, queue_bytes=1 << 20, stall_seconds=1.0, half_close_seconds=30.0):
        self.student = student
        self.limits = (max_clients, queue_bytes, stall_seconds, half_close_seconds)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def start(self, descriptors=None):
        """Let it serve. descriptors: how many new ones it may have; None: no limit."""
        words = f"serve(a listener, {', '.join(map(str, self.limits))})"
        call = ("serve", self.listener)
        if descriptors is not None:
            self.student.define(HELPERS)
            words += f", with {descriptors} more descriptors allowed"
            call = ("serve_with_few_descriptors", descriptors, self.listener)
        self.pending = self.student.start(*call, *self.limits, step=words)
        self.student.until(
            lambda audit: self.pending.done or audit.own.state == "S",
            should="sleep in poll until somebody comes",
            mistake="a poll that does not wait, or a listener that is asked for more than POLLIN" + PIECES,
            read=READ,
        )
        return self

    def bound_buffers(self):
        """Let the kernel take little for each connection: what accept gives has the listener's sizes, tcp(7)."""
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.listener.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        return self

    def room(self):
        """A room of the conformance suite with this server in it."""
        return Room(self.listener.getsockname(), timeout=WAIT_SECONDS)

    def run(self, story, read):
        """Let story(room) happen. What is not as it should be fails the check, in the fault's own words."""
        with self.room() as room:
            try:
                story(room)
            except Fault as fault:
                self.should(False, should=fault.should, but=fault.but, mistake=fault.mistake, read=read)
            except (LoadError, ConnectionError) as error:
                self.should(False, should="serve its clients", but=str(error), read=read)
            self.should(not self.pending.done, should="go on serving", read=read)

    def should(self, ok, should, but="", mistake="", read=READ):
        """As student.should: but an exception explains more, and the mistake may be in one of the pieces."""
        if not ok and self._has_ended():
            call = self.pending.result(raises=True)
            should = "serve, and never return"
            but = f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}"
            mistake = "an error of one client's connection that ends the room" if call.exception else "a last turn"
        self.student.should(ok, should=should, but=but, mistake=(mistake + PIECES).removeprefix("; "), read=read)

    def _has_ended(self):
        """Whether serve has ended. What its clients see of that may be faster than its last word to the judge."""
        patience = time.monotonic() + LAST_WORD_SECONDS * self.student.scale
        while not self.pending.done and time.monotonic() < patience:
            time.sleep(0.01)
        return self.pending.done

    def sleeps(self, when, mistake, read=READ):
        """It must wait in poll, and not wake up again and again."""
        self.student.sleeps(should=f"sleep {when}", mistake=mistake + PIECES, read=read, most_wake_ups=MOST_IDLE_POLLS)


def test_lines(student):
    """Lines go to everyone but their sender, whole and in order."""
    server = Serving(student).start()
    for name in CASES:
        student.step(SCENARIOS[name].title)
        server.run(SCENARIOS[name].run, "Lines, not chunks")


def test_half_close(student):
    """After FIN the last words are delivered, and the client is still sent to, for a time."""
    word = b"last words %d" % student.random.randrange(1000)

    def story(room):
        leaver, reader, other = room.join(3)
        student.step(f"a client sends {b'first' + bytes([10]) + word!r} and FIN")
        leaver.send(b"first\n" + word)
        leaver.end_input()
        expected = b"first\n" + word + b"\n"
        room.receives(
            reader, expected, mistake="a FIN looked at before what has been said is read, or last words dropped"
        )
        student.step("another says something")
        other.send_line(b"are you still there?")
        room.receives(leaver, b"are you still there?\n", mistake="a half-close taken for a close: it still listens")
        room.receives(reader, b"are you still there?\n", mistake="not everybody in the room is served")

    Serving(student).start().run(story, LEAVING)


def test_half_close_has_an_end(student):
    """half_close_seconds after FIN the connection is closed."""

    def story(room):
        leaver, _ = room.join(2)
        student.step("a client sends FIN, and waits")
        leaver.end_input()
        try:
            how = leaver.ended()
        except LoadError as error:
            raise Fault("close its connection", str(error), "a half-close without a deadline") from error
        room.should(
            how == "end of file",
            should="close its connection",
            but="it was reset",
            mistake="a reset (SO_LINGER), or a close over unread bytes, where a close is enough",
        )

    Serving(student, half_close_seconds=0.2).start().run(story, LEAVING)


def test_clients_that_are_gone(student):
    """One that resets its connection, or cannot be sent to, costs the room nothing."""

    def story(room):
        rude, closed, reader, other = room.join(4)
        student.step("a client says b'hello\\nunfinis', and resets its connection")
        rude.send(b"hello\nunfinis")
        for each in (closed, reader, other):
            room.receives(each, b"hello\n", mistake="whole lines kept back")
        rude.reset()
        student.step(
            "another closes: what is sent to it from now on is answered by a reset; a third says several things"
        )
        closed.close()
        for number in range(5):
            line = b"line %d\n" % number
            other.send(line)
            came = reader.read_line()
            room.should(
                came == line,
                should=f"relay {line!r} next",
                but=f"{came!r} came",
                mistake="an unfinished line completed after a reset, as after FIN",
            )

    Serving(student).start().run(story, LEAVING)


def turned_away(room, client):
    """A client must get a notice, and then end of file."""
    mistake = (
        "a close with bytes unread, which is a reset and takes the notice with it: shutdown(SHUT_WR), and read on until"
        " the client closes"
    )
    try:
        notice = client.read_line()
        how = client.ended()
    except LoadError as error:
        raise Fault("send a notice, then end of file", str(error), mistake) from error
    room.should(notice[:2] == b"* ", should="send a notice, '* …'", but=f"{notice!r} came", mistake="no notice")
    room.should(how == "end of file", should="send end of file after the notice", but="it was reset", mistake=mistake)


def test_notices(student):
    """Who is one too many, or says a line too long, gets a notice and a clean end."""

    def story(room):
        talker, reader = room.join(2)
        student.step("a third client comes, and has something to say")
        third = room.connect()
        third.send(b"let me in\n")
        turned_away(room, third)
        student.step("a client says b'before\\n', and a line of 400000 bytes")
        talker.send(b"before\n" + b"x" * 400_000)
        room.receives(reader, b"before\n", mistake="the lines before the one that is too long lost, or the third heard")
        turned_away(room, talker)
        student.step("somebody else comes")
        room.admit([room.connect(), reader])

    Serving(student, max_clients=2).start().run(story, LEAVING)


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


def hear_all(student, room, talker, reader, mistake):
    """Let the talker say what is left, and the reader read: it must get all LINES, in order."""
    wanted, got = b"".join(LINES), bytearray(reader.arrived())
    deadline = time.monotonic() + student.remaining() - 1
    while len(got) < len(wanted) and time.monotonic() < deadline:
        talker.say(0)
        if select.select([reader.socket], [], [], 0.02)[0]:
            data = reader.socket.recv(1 << 18)
            got += data
            if not data:
                break
    right = wanted.startswith(got)
    room.should(
        got == wanted,
        should=f"deliver all {len(LINES)} lines, in order",
        but=f"{got.count(10)} of them came" + ("" if right else ", and they are not the first ones, in order"),
        mistake=mistake,
    )


def test_senders_wait(student):
    """While a reader's queue is full senders wait, and nothing is lost."""
    server = Serving(student, queue_bytes=QUEUE_BYTES, stall_seconds=60.0).bound_buffers().start()

    def story(room):
        speaker, late = room.join(2, receive_buffer=BUFFER_BYTES)
        student.step(f"a client says {len(LINES)} lines of 1000 bytes, and the only other one does not read")
        talker = Talker(speaker)
        talker.say(QUIET_SECONDS)
        server.sleeps("while senders wait", "a sender whom nobody may read, and whom poll is asked about", STUCK)
        talker.say(QUIET_SECONDS)
        room.should(
            talker.left,
            should="let it wait: the other's queue holds 65536 bytes, and the kernel's buffers not much more",
            but=f"the server has taken all {len(LINES)} lines, and keeps them in memory",
            mistake="senders read although a queue is full: what a reader does not read must stay with the senders",
        )
        student.step("now the other reads")
        hear_all(student, room, talker, late, "lines thrown away when a queue is full, or senders who wait for ever")

    server.run(story, STUCK)


def test_a_reader_that_never_reads(student):
    """One who never reads has to go, after stall_seconds, and the others get everything."""
    server = Serving(student, queue_bytes=QUEUE_BYTES, stall_seconds=student.scale).bound_buffers().start()

    def story(room):
        speaker, reader, never = room.join(3, receive_buffer=BUFFER_BYTES)
        student.step(f"a client says {len(LINES)} lines of 1000 bytes; one reads, and one does not")
        hear_all(
            student, room, Talker(speaker), reader, "one who does not read, and for whom the whole room waits for ever"
        )
        student.step("look at the connection of the one who does not read")
        try:
            never.ended()
        except LoadError as error:
            raise Fault("have closed it", str(error), "a client that has to go, and stays") from error

    server.run(story, STUCK)


def test_an_idle_room_sleeps(student):
    """A room where nobody says anything sleeps, also with one in it that has half-closed."""
    server = Serving(student).start()

    def story(room):
        leaver, talker, reader = room.join(3)
        student.step("a client sends FIN; another says 40 lines of 50000 bytes")
        leaver.end_input()
        for _ in range(40):
            talker.send(b"." * 49_999 + b"\n")
            reader.read_exactly(50_000)
            leaver.read_exactly(50_000)
        server.sleeps(
            "when nothing is left to be sent",
            "POLLOUT asked for with nothing to send, or POLLIN of one whose FIN has been read: both are always there",
        )

    server.run(story, READ)


def test_no_descriptor_left(student):
    """Without a descriptor for a newcomer the room sleeps, and lets the newcomer in when somebody has left."""
    server = Serving(student).start(descriptors=3)

    def story(room):
        first, second, third = room.join(3)
        student.step("a fourth client comes")
        fourth = room.connect()
        room.settle(first, second)
        server.sleeps(
            "although somebody waits at the listener",
            "a listener that is polled while there is no descriptor for who waits at it: it stays readable",
            NEWCOMERS,
        )
        student.step("the third one leaves")
        third.reset()
        room.admit([fourth, first, second])

    server.run(story, NEWCOMERS)

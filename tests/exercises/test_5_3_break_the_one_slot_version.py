"""5.3 break the one-slot version: a schedule of freezes, carried out here and now on a real one-slot server."""

import contextlib
import fcntl
import os
import re
import signal
import struct
import tempfile
import termios
import time
from pathlib import Path

import pytest

from chatlab import launch, procfs

pytestmark = pytest.mark.exercise("5.3")
READ = "One slot is not enough"
LINES = 3
MOST_STEPS = 50
LOOK_SECONDS = 0.002
STEP = re.compile(r"A says|(freeze|thaw) (parent|A|B|C)")
SIGNALS = {"freeze": signal.SIGSTOP, "thaw": signal.SIGCONT}
NAMES = ("A", "B", "C")

PROGRAM = """\
import mmap
import os
import select
import socket

SLOT_BYTES = 1024
slots = mmap.mmap(-1, 3 * SLOT_BYTES)  # a slot for each client, shared by the parent and its three children

def child(number, client, bell):
    watch = select.epoll()
    watch.register(client, select.EPOLLIN)
    watch.register(bell, select.EPOLLIN)
    while True:
        for fd, _ in watch.poll():
            if fd == client.fileno():  # my client has spoken: into its slot with it, and the parent hears whose
                line = client.recv(SLOT_BYTES)
                slots[number * SLOT_BYTES : (number + 1) * SLOT_BYTES] = line.ljust(SLOT_BYTES, b"\\0")
                bell.send(bytes([number]))
            else:  # somebody else has spoken: send what is in that slot
                who = bell.recv(1)[0]
                line = slots[who * SLOT_BYTES : (who + 1) * SLOT_BYTES].rstrip(b"\\0")
                client.send(line)

listener = socket.create_server(("127.0.0.1", 0))
print("listening on {}:{}".format(*listener.getsockname()), flush=True)
watch, bells = select.epoll(), []
for number in range(3):  # A, B and C, in the order of their coming
    client, _ = listener.accept()
    mine, its = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        child(number, client, its)
    print("child", "ABC"[number], pid, flush=True)
    watch.register(mine, select.EPOLLIN)
    bells.append(mine)

while True:
    for fd, _ in watch.poll():
        who = os.read(fd, 1)  # one number for each line
        for number in range(3):
            if number != who[0]:
                bells[number].send(who)
"""


class Room:
    """The one-slot server with its three clients. All of its processes can be seen, and stopped, from here."""

    def __init__(self, student, folder):
        self.student = student
        path = Path(folder) / "one_slot.py"
        path.write_text(PROGRAM, encoding="utf-8")
        self.server = launch(path)
        self.clients = {}
        for name in NAMES:
            self.clients[name] = self.server.connect()
            self.server.wait_for_text(f"child {name} ")
        children = re.findall(r"child (\w) (\d+)", self.server.output)
        self.pids = {"parent": self.server.pid, **{name: int(pid) for name, pid in children}}
        self.frozen = set()
        self.until(self.is_quiet, "come to rest")

    def until(self, condition, what):
        """Wait until condition() holds."""
        while not condition():
            assert self.student.remaining() > 0, f"the one-slot server does not {what}"
            time.sleep(LOOK_SECONDS)

    def look(self, name):
        """A process's state, one letter, and how often it has gone to sleep."""
        status = procfs.status(self.pids[name])
        return status["State"][0], status["voluntary_ctxt_switches"]

    def is_quiet(self):
        """Whether nobody has anything to do.

        Everybody sleeps, and has not been awake between two looks: so at one moment all of them slept. Who sleeps has
        nothing to read, since its epoll is level-triggered.
        """
        awake = [name for name in self.pids if name not in self.frozen]
        first = [self.look(name) for name in awake]
        return all(state == "S" for state, _ in first) and first == [self.look(name) for name in awake]

    def say(self, line):
        """A says a line; it has come to the other end of the connection when this returns."""
        sock = self.clients["A"]
        sock.sendall(line)
        self.until(lambda: unacknowledged(sock) == 0, "take A's line")

    def signal(self, what, name):
        """Freeze or thaw a process."""
        os.kill(self.pids[name], SIGNALS[what])
        if what == "freeze":
            self.frozen.add(name)
            self.until(lambda: self.look(name)[0] == "T", "stop")
        else:
            self.frozen.discard(name)
            self.until(lambda: self.look(name)[0] != "T", "go on")

    def heard(self, lines):
        """End the server, and tell what came to whom: name → the numbers of the lines."""
        self.server.stop()
        return {name: [number_of(line, lines) for line in read_to_end(self.clients[name])] for name in NAMES}

    def close(self):
        self.server.stop()
        for sock in self.clients.values():
            sock.close()


def unacknowledged(sock):
    """How many bytes of what was sent are not at the other end yet: tcp(7), SIOCOUTQ."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]


def read_to_end(sock):
    """The lines that have come."""
    data = b""
    with contextlib.suppress(ConnectionResetError):  # of a client whose last words nobody has read
        while piece := sock.recv(65536):
            data += piece
    return data.splitlines(keepends=True)


def number_of(line, lines):
    return lines.index(line) + 1 if line in lines else repr(line)


def carry_out(student):
    """What the student's schedule does: name → the numbers of the lines that come to this client."""
    schedule = checked(student, student.get("SCHEDULE"))
    lines = [b"line %d %d\n" % (number, student.random.randrange(10**6)) for number in range(1, LINES + 1)]
    unsaid = iter(lines)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Room(student, folder)) as room:
        for step in schedule:
            student.step(step)
            if step == "A says":
                room.say(next(unsaid))
            else:
                room.signal(*step.split())
            room.until(room.is_quiet, "come to rest")
        student.should(
            not room.frozen,
            should="thaw in the end whatever it has frozen",
            but=f"still frozen: {', '.join(sorted(room.frozen))}",
            mistake="a process frozen for ever, which is as good as dead: the line is to be lost in a room that works",
            read=READ,
        )
        return room.heard(lines)


def checked(student, schedule):
    """The schedule, if it can be carried out."""
    student.should(
        isinstance(schedule, list) and all(isinstance(step, str) for step in schedule),
        should="set SCHEDULE to a list of str",
        but=f"it is {schedule!r:.200}",
    )
    unknown = [step for step in schedule if not STEP.fullmatch(step)]
    student.should(
        not unknown, should="have the steps A says, freeze X, thaw X, and no others", but=f"there is {unknown[:3]}"
    )
    said = schedule.count("A says")
    student.should(
        said == LINES and len(schedule) <= MOST_STEPS,
        should=f"let A say {LINES} lines, in at most {MOST_STEPS} steps",
        but=f"A says {said}, in {len(schedule)} steps",
    )
    return schedule


def in_words(numbers):
    return f"the lines {', '.join(map(str, numbers))}" if numbers else "no line"


def mistake_of(heard):
    """Why B has not lost the second line, and that alone."""
    if 2 in heard["B"]:
        return (
            "nobody came too late: a child that is frozen before it has received gets the lines in one piece, and a "
            "thaw between two lines comes in time"
        )
    return "frozen too early: the first line, too, was in the slot still unread when the next one came"


def test_b_loses_the_second_line(student):
    """B gets the first and the third line, and never the second."""
    heard = carry_out(student)
    student.should(
        set(heard["B"]) == {1, 3},
        should="bring B the first and the third line, and never the second",
        but=f"B got {in_words(heard['B'])}",
        mistake=mistake_of(heard),
        read=READ,
    )


def test_c_loses_nothing(student):
    """C gets every line, once."""
    heard = carry_out(student)
    student.should(
        heard["C"] == [1, 2, 3],
        should="bring C all three lines, once",
        but=f"C got {in_words(heard['C'])}",
        mistake="the parent frozen: then all children hear too late, where only B's is to",
        read=READ,
    )


def test_what_b_receives(student):
    """The prediction of what B receives is what a run shows."""
    heard = carry_out(student)
    predicted = student.get("B_RECEIVES")
    student.should(
        isinstance(predicted, list) and all(type(number) is int for number in predicted),
        should="set B_RECEIVES to a list of numbers",
        but=f"it is {predicted!r:.200}",
    )
    expected = heard["B"]
    student.should(
        predicted == expected,
        should="be the numbers of the lines that B gets, in order",
        but=f"B gets {'more' if len(expected) > len(predicted) else 'other'} lines than {predicted}",
        mistake="a bell taken for the line: each bell makes B's child send what is in the slot at that moment, and no"
        " bell is lost",
        read=READ,
    )

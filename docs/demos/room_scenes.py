#!/usr/bin/env python3
"""Play the clients' part for the poll server of lab 04, scene by scene, and print what each of them sees.

    python docs/demos/room_scenes.py half-a-line
    python docs/demos/room_scenes.py half-a-line --pitfall lines-mixed

The server is a process of its own, the reference or one of the lab's pitfalls. Ann, Bob and Cid are connections of
ours; in the scene `talk` Cid is nc, where that is installed. It ends by itself.
"""

import argparse
import contextlib
import os
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LAB = Path(__file__).resolve().parents[2] / "labs" / "04_poll_server"
PATIENCE_SECONDS = 10.0
SHORT_PATIENCE_SECONDS = 1.0  # where silence may be what is to be seen: with a pitfall
DEAF_PATIENCE_SECONDS = 4.0  # longer than the server's own for a reader that does not read
PROBE_SECONDS = 0.1
MOMENT_SECONDS = 0.001
LITTLE_SECONDS = 0.05
SMALL_BYTES = 4096  # of a receive buffer
MANY_LINES = 4000
LONG_LINE_BYTES = 2500
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, socket(7)


class SceneError(Exception):
    """The scene cannot be played: one line."""


class Person:
    """A client: two descriptors, and what has come and was not told yet."""

    def __init__(self, name: str, reading: int, writing: int):
        self.name, self.reading, self.writing = name, reading, writing
        self.came = b""

    def say(self, data: bytes) -> None:
        print(f"{self.name} says {data!r}")
        os.write(self.writing, data)

    def hears(self, patience: float = PATIENCE_SECONDS) -> bytes:
        """Print the next line that comes, and return it."""
        line = self.next_line(patience)
        words = {None: f"hears nothing for {patience:g} s", b"": "hears the end of the connection"}
        print(self.name, words.get(line, f"hears {line!r}"))
        return line or b""

    def next_line(self, patience: float = PATIENCE_SECONDS) -> bytes | None:
        """The next line; b"" at the end, None when nothing comes. Raises ConnectionResetError."""
        while b"\n" not in self.came:
            if not select.select([self.reading], [], [], patience)[0]:
                return None
            data = os.read(self.reading, 65536)
            if not data:
                break
            self.came += data
        line, newline, self.came = self.came.partition(b"\n")
        return line + newline


class Room:
    """A server and the people in it. options: further arguments of the server; traced: strace writes down its polls."""

    lab, program = LAB, "poll_server.py"
    tracer = ("-e", "trace=poll")

    def __init__(self, pitfall: str | None, *options: str, traced: bool = False):
        program = [self.program] if pitfall is None else ["pitfalls.py", pitfall]
        self.command = [str(self.lab / program[0]), *program[1:]]
        self.patience = PATIENCE_SECONDS if pitfall is None else SHORT_PATIENCE_SECONDS
        self.options, self.traced = options, traced and shutil.which("strace") is not None
        self.folder = tempfile.TemporaryDirectory()
        self.calls = Path(self.folder.name, "calls")
        self.log = Path(self.folder.name, "log")
        self.sockets: list[socket.socket] = []
        self.start(port=0)

    def start(self, port: int) -> None:
        tracer = ["strace", "-D", "-qq", *self.tracer, "-o", str(self.calls)] if self.traced else []
        command = [*tracer, sys.executable, *self.command, "--port", str(port), *self.options]
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        ready = re.fullmatch(r"listening on (\S+):(\d+)\n", self.server.stdout.readline())
        if not ready:
            self.server.wait()
            raise SceneError(self.log.read_text().strip().splitlines()[-1])
        self.address = ready[1], int(ready[2])

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *exception) -> None:
        for each in self.sockets:
            each.close()
        self.end()
        self.folder.cleanup()

    def end(self) -> None:
        self.server.terminate()
        try:
            self.server.wait(SHORT_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()

    def person(self, name: str, receive_bytes: int | None = None) -> Person:
        """Somebody who has connected."""
        connection = socket.socket()
        self.sockets.append(connection)
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect(self.address)
        return Person(name, connection.fileno(), connection.fileno())

    def enter(self, *people: Person) -> list[Person]:
        """Wait until they are all known to be in the room: the first one's probe lines reach the others."""
        speaker, *others = people
        missing, number = list(others), 0
        while missing:
            number += 1
            os.write(speaker.writing, b"probe %d\n" % number)
            for person in list(missing):
                while (line := person.next_line(PROBE_SECONDS)) is not None and line != b"probe %d\n" % number:
                    pass
                if line is not None:
                    missing.remove(person)
        os.write(speaker.writing, b"last probe\n")
        for person in others:
            while person.next_line() != b"last probe\n":
                pass
        print(f"{', '.join(person.name for person in people[:-1])} and {people[-1].name} are in the room")
        return list(people)

    def three(self, cid_receives: int | None = None) -> list[Person]:
        return self.enter(self.person("Ann"), self.person("Bob"), self.person("Cid", cid_receives))

    @contextlib.contextmanager
    def one_turn(self):
        """Stop the server meanwhile, so that all that comes is there in its next turn."""
        with stopped(self.server.pid):
            print("(what follows reaches the server in one turn of its loop)")
            yield

    def tell_log(self) -> None:
        """Print what the server has logged, without the ports."""
        for line in self.log.read_text().splitlines():
            print("server logs:", re.sub(r"^[\d.]+:\d+", "somebody", line))

    def watch(self, words: str) -> None:
        """Print how often the server wakes up in a second."""
        before = self.polls()
        time.sleep(1)
        print(f"{words}: in a second the server wakes up {self.polls_since(before)} times")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def polls(self) -> tuple[int, float]:
        """How many calls of poll have returned, and the processor time so far in seconds: proc_pid_stat(5).

        Without strace how often the server has slept, proc_pid_status(5): the same, unless poll does not sleep.
        """
        if self.traced:
            returned = sum(b" = " in line for line in self.calls.read_bytes().splitlines())
        else:
            for _ in range(100):
                if self.stat()[0] == "S":  # it has gone to sleep after what it did last
                    break
                time.sleep(MOMENT_SECONDS)
            status = Path(f"/proc/{self.server.pid}/status").read_text()
            returned = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)[1])
        return returned, sum(map(int, self.stat()[11:13])) / os.sysconf("SC_CLK_TCK")

    def stat(self) -> list[str]:
        """The server's state, as a letter, and what follows it."""
        return stat(self.server.pid)

    def polls_since(self, before: tuple[int, float]) -> str:
        polls, used = self.polls()
        return "uncounted" if not self.traced and used - before[1] > LITTLE_SECONDS else str(polls - before[0])


@contextlib.contextmanager
def stopped(pid: int):
    """Stop a process meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    while stat(pid)[0] != "T":
        time.sleep(MOMENT_SECONDS)
    yield
    os.kill(pid, signal.SIGCONT)


def stat(pid: int) -> list[str]:
    """A process's state, as a letter, and what follows it in proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024 / 1e6


# The scenes. Each docstring is a line of the help.


def talk(pitfall: str | None) -> None:
    """three people talk; one of them is nc, where it is installed"""
    with Room(pitfall) as room, contextlib.ExitStack() as stack:
        nc = shutil.which("nc")
        if nc:
            command = [nc, *map(str, room.address)]
            process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            cid = Person("Cid", process.stdout.fileno(), process.stdin.fileno())
        else:
            cid = room.person("Cid")
        ann, bob, cid = room.enter(room.person("Ann"), room.person("Bob"), cid)
        print(f"Cid is {'nc' if nc else 'a connection of ours: nc is not installed'}")
        for speaker, line in ((ann, b"hello\n"), (bob, b"hi\n"), (cid, b"ahoy\n")):
            speaker.say(line)
            for person in (ann, bob, cid):
                if person is not speaker:
                    person.hears()


def half_a_line(pitfall: str | None) -> None:
    """one says half a line, and another one speaks before the rest comes"""
    with Room(pitfall) as room:
        ann, bob, cid = room.three()
        with room.one_turn():
            ann.say(b"to be ")
            bob.say(b"hello\n")
        cid.hears()
        ann.say(b"or not\n")
        cid.hears()


def one_turn(pitfall: str | None) -> None:
    """two speak in the same turn of the loop"""
    with Room(pitfall) as room:
        ann, bob, cid = room.three()
        with room.one_turn():
            ann.say(b"one\n")
            bob.say(b"two\n")
        if cid.hears() != b"two\n":
            cid.hears()


def last_words(pitfall: str | None) -> None:
    """one says something, and the connection is reset at once"""
    with Room(pitfall) as room:
        ann, bob, cid = room.three()
        with room.one_turn():
            ann.say(b"last words\nand half a li")
            room.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            room.sockets[0].close()
            print("Ann's connection is reset")
        bob.say(b"what was that?\n")
        if cid.hears() != b"what was that?\n":
            cid.hears()


def half_close(pitfall: str | None) -> None:
    """one says something without a newline, ends its half, and listens"""
    with Room(pitfall) as room:
        ann, bob, cid = room.three()
        ann.say(b"how much is 6 x 7?")
        room.sockets[0].shutdown(socket.SHUT_WR)
        print("Ann half-closes")
        cid.hears(room.patience)
        bob.say(b"42\n")
        ann.hears()


def late_reader(pitfall: str | None) -> None:
    """one reads nothing while much is said, and then all that is there"""
    lines = MANY_LINES // 20
    with Room(pitfall) as room:
        ann, bob, cid = room.three(SMALL_BYTES)
        print(f"Ann says {lines} lines of {LONG_LINE_BYTES} bytes, Bob hears each, Cid reads nothing")
        say_many(ann, bob, lines)
        print("now Cid reads")
        heard = 0
        while heard < lines and (line := cid.next_line(room.patience)):
            heard += len(line) == LONG_LINE_BYTES
        print(f"Cid hears {heard} whole lines")


def deaf_reader(pitfall: str | None) -> None:
    """one never reads, while ten megabytes are said"""
    with Room(pitfall) as room:
        ann, bob, cid = room.three(SMALL_BYTES)
        before = resident_megabytes(room.server.pid)
        print(f"Ann says {MANY_LINES} lines of {LONG_LINE_BYTES} bytes, Cid reads nothing")
        heard, waited = say_many(ann, bob, MANY_LINES)
        if heard < MANY_LINES:
            print(f"Bob hears nothing more after less than {MANY_LINES // 10} lines")
            return
        print(f"Bob hears them all; once he waits for {waited:.1f} s")
        print(f"the server has grown by {resident_megabytes(room.server.pid) - before:.0f} MB")
        room.tell_log()


def say_many(speaker: Person, listener: Person, lines: int) -> tuple[int, float]:
    """Say line after line, each when the last one was heard. How many are heard, and the longest wait in seconds."""
    longest = 0.0
    for number in range(lines):
        began = time.monotonic()
        os.write(speaker.writing, b"x" * (LONG_LINE_BYTES - 1) + b"\n")
        if listener.next_line(DEAF_PATIENCE_SECONDS) is None:
            return number, longest
        longest = max(longest, time.monotonic() - began)
    return lines, longest


def full_room(pitfall: str | None) -> None:
    """a third one comes into a room for two, and speaks at once"""
    with Room(pitfall, "--max-clients", "2") as room:
        room.enter(room.person("Ann"), room.person("Bob"))
        with room.one_turn():
            cid = room.person("Cid")
            cid.say(b"hello\n")
        try:
            cid.hears()
            cid.hears()
        except ConnectionResetError as error:
            print(f"Cid reads: {error.strerror}")


def newcomers(pitfall: str | None) -> None:
    """two come, and then something is said"""
    with Room(pitfall) as room:
        ann, bob = room.enter(room.person("Ann"), room.person("Bob"))
        with room.one_turn():
            cid, dan = room.person("Cid"), room.person("Dan")
            print("Cid and Dan connect")
            ann.say(b"welcome\n")
        for person in (bob, cid, dan):
            person.hears(room.patience)


def to_and_fro(pitfall: str | None) -> None:
    """one answers, and the other says two lines"""
    with Room(pitfall) as room:
        ann, bob = room.enter(room.person("Ann"), room.person("Bob"))
        late = []
        for _ in range(21):
            for speaker, listener in ((bob, ann), (ann, bob), (ann, bob)):
                began = time.monotonic()
                os.write(speaker.writing, b"well\n")
                listener.next_line()
            late.append(1000 * (time.monotonic() - began))
        print(f"21 times Bob says a line and then Ann two: her second one takes {sorted(late)[10]:.1f} ms (median)")


def wake_ups(pitfall: str | None) -> None:
    """silence, twenty lines, and silence again; strace counts the polls, where it is installed"""
    with Room(pitfall, traced=True) as room:
        descriptors = room.descriptors()
        ann, bob = room.person("Ann"), room.person("Bob")
        while room.descriptors() < descriptors + 2:
            time.sleep(MOMENT_SECONDS)
        room.watch("before a word is said")
        room.enter(ann, bob)
        before = room.polls()
        for number in range(20):
            os.write(ann.writing, b"line %d\n" % number)
            bob.next_line()
        print(f"20 lines, one after the other: the server wakes up {room.polls_since(before)} times")
        room.watch("when all is said")


def no_descriptor(pitfall: str | None) -> None:
    """somebody comes, and no descriptor is left for the connection; polls are counted, as above"""
    with Room(pitfall, traced=True) as room:
        ann, bob, cid = room.three()
        limit = room.descriptors()
        resource.prlimit(room.server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        print(f"the server may have {limit} descriptors, and has them all; Dan connects")
        dan = room.person("Dan")
        room.watch("while Dan waits")
        room.sockets[1].close()
        print("Bob leaves, which the server knows for certain when it has sent him something")
        ann.say(b"bye, Bob\n")
        cid.hears()
        room.enter(dan, ann)


def restart(pitfall: str | None) -> None:
    """the server is stopped and started again, on the same port"""
    with Room(pitfall) as room:
        ann, bob, cid = room.three()
        room.end()
        print("the server is stopped, and closes the connections first")
        for each in room.sockets:
            each.close()
        room.start(room.address[1])
        print("the server listens again")
        room.three()


SCENES = {
    "talk": talk,
    "half-a-line": half_a_line,
    "one-turn": one_turn,
    "last-words": last_words,
    "half-close": half_close,
    "late-reader": late_reader,
    "deaf-reader": deaf_reader,
    "full-room": full_room,
    "newcomers": newcomers,
    "to-and-fro": to_and_fro,
    "wake-ups": wake_ups,
    "no-descriptor": no_descriptor,
    "restart": restart,
}


def main(scenes: dict = SCENES, first: str = "talk", server: str = "the poll server of lab 04", lab: Path = LAB) -> int:
    """Play the scene asked for and return the exit status."""
    parser = argparse.ArgumentParser(
        description=f"Play the clients' part for {server}, and print what each of them sees.",
        epilog="; ".join(f"{name}: {scene.__doc__}" for name, scene in scenes.items()),
    )
    parser.add_argument("scene", choices=scenes, nargs="?", default=first, help="which scene (default %(default)s)")
    parser.add_argument("--pitfall", metavar="NAME", help=f"with this wrong server; labs/{lab.name}/pitfalls.py")
    options = parser.parse_args()
    try:
        scenes[options.scene](options.pitfall)
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as head has gone: end quietly, as cat does, and the server has ended by now
        os._exit(1)
    except SceneError as error:
        sys.exit(f"{parser.prog}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

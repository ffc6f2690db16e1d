#!/usr/bin/env python3
"""Play the clients' part for lab 05's server, a process for each client, and print what each of them sees.

    python docs/demos/fork_scenes.py late-reader
    python docs/demos/fork_scenes.py late-reader --pitfall written-over

The server is a process of its own, the reference or one of the lab's pitfalls; what its processes hold is read from
/proc. Stopped, in a scene, is a process that was sent SIGSTOP. It ends by itself.
"""

import contextlib
import os
import re
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import room_scenes
from room_scenes import MOMENT_SECONDS, PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS, Person, SceneError, stopped

LAB = Path(__file__).resolve().parents[2] / "labs" / "05_epoll_fork_shm"
RING_BYTES = 131072
SMALL_RINGS = ("--queue-bytes", str(RING_BYTES))
CALLS = ("recvfrom", "sendto", "sendmsg")
CALL = re.compile(r'([\d.]+) (\w+)\((\d+), [^"]*("[^"]*").*\) = (\d+)')
LISTEN = "0A"  # net/tcp_states.h, as in /proc/net/tcp
BUSY_CLIENTS = 50
ROUNDS = 20
TICK_NANOSECONDS = 1e9


class Room(room_scenes.Room):
    """A server with a process for each client, and the people in it."""

    lab, program = LAB, "fork_shm_server.py"
    tracer = ("-ff", "-ttt", "-e", f"trace={','.join(CALLS)}")  # -ff: a file for each process

    def __init__(self, pitfall: str | None, *options: str, traced: bool = False):
        self.children: dict[str, int] = {}  # by the person's name
        super().__init__(pitfall, *options, traced=traced)

    def person(self, name: str, receive_bytes: int | None = None) -> Person:
        """Somebody who has connected, and, unless the server is stopped or lets nobody in, whose child is there."""
        before = set(children(self.server.pid))
        person = super().person(name, receive_bytes)
        deadline = time.monotonic() + self.patience
        while stat_of(self.server.pid) != "T" and time.monotonic() < deadline:
            if new := set(children(self.server.pid)) - before:
                (self.children[name],) = new
                break
            time.sleep(MOMENT_SECONDS)
        return person

    def end(self) -> None:
        left = {pid for pid in self.children.values() if alive(pid)}
        super().end()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def settle(self) -> None:
        """Wait until all processes of the server sleep."""
        settle([self.server.pid, *children(self.server.pid)])

    def traces(self) -> list[Path]:
        """What strace has written so far: a file for each process, none without strace."""
        return sorted(self.calls.parent.glob(f"{self.calls.name}.*"))

    def tell_descriptors(self) -> None:
        names = {self.server.pid: "parent", **{pid: f"{name}'s child" for name, pid in self.children.items()}}
        for pid, name in names.items():
            kinds = [self.kind(target) for target in descriptors(pid)]
            counts = [(kinds.count(kind), kind) for kind in ("listener", "connection", "epoll", "bell end")]
            held = ", ".join(f"{count} {kind}{'s' * (count > 1)}" for count, kind in counts if count)
            print(f"   {name:12} {held}")

    def kind(self, target: str) -> str:
        """What a link in /proc/PID/fd points to, in words."""
        if target == "anon_inode:[eventpoll]":
            return "epoll"
        if not target.startswith("socket:"):
            return "file"
        for line in Path("/proc/net/tcp").read_text().splitlines():
            words = line.split()
            if target == f"socket:[{words[9]}]":
                return "listener" if words[3] == LISTEN else "connection"
        return "bell end"


def stat_of(pid: int) -> str:
    """A process's state, as a letter; "X" when it has gone."""
    try:
        return room_scenes.stat(pid)[0]
    except OSError:
        return "X"


def settle(pids: list[int]) -> None:
    wait_until(lambda: all(stat_of(pid) == "S" for pid in pids), "all processes to sleep")


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SceneError(f"waited {PATIENCE_SECONDS:g} s for {what}")
        time.sleep(MOMENT_SECONDS)


def alive(pid: int) -> bool:
    return stat_of(pid) not in "XZ"


def children(parent: int) -> list[int]:
    """The processes, zombies not among them, that have this parent."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and room_scenes.stat(int(name))[1] == str(parent) and alive(int(name)):
                found.append(int(name))
    return found


def descriptors(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def say_and_hear(speaker: Person, listener: Person, lines: int, size: int, patience: float) -> tuple[int, float]:
    """Say line after line, each when the last one was heard. How many are heard, and the longest wait in seconds."""
    longest = 0.0
    for number in range(lines):
        began = time.monotonic()
        os.write(speaker.writing, line(number, size))
        if listener.next_line(patience) is None:
            return number, longest
        longest = max(longest, time.monotonic() - began)
    return lines, longest


def line(number: int, size: int) -> bytes:
    """Line `number`, of so many bytes."""
    return (b"%d " % number * size)[: size - 1] + b"\n"


def tell_heard(person: Person, lines: int, size: int, patience: float) -> None:
    """Read so many lines, or all that come, and print how many of them are what was said, in order."""
    right, came = 0, 0
    while came < lines and (heard := person.next_line(patience)):
        right += heard == line(came, size)
        came += 1
    print(f"{person.name} hears {came} lines, {right} of them as they were said")


# The scenes. Each docstring is a line of the help.


def who_has_what(pitfall: str | None) -> None:
    """three come, and each time it is told which process holds which descriptors"""
    with Room(pitfall) as room:
        for name in ("Ann", "Bob", "Cid"):
            room.person(name)
            print(f"{name} has come")
            room.settle()
            room.tell_descriptors()


def journey(pitfall: str | None) -> None:
    """one line on its way: the calls of all processes, with strace, where it is installed"""
    with Room(pitfall, traced=True) as room:
        people = room.three()
        room.settle()
        before = {path: path.stat().st_size for path in room.traces()}
        people[0].say(b"hello\n")
        for person in people[1:]:
            person.hears()
        room.settle()
        if room.traced:
            tell_calls(room, before)
        else:
            print("strace is not installed: nobody sees the calls")


def tell_calls(room: Room, before: dict[Path, int]) -> None:
    """Print the calls since then that were not in vain, process by process."""
    names = {room.children["Ann"]: "Ann's child", room.server.pid: "parent"}
    names |= {pid: f"{name}'s child" for name, pid in room.children.items()}
    calls = {pid: CALL.findall(new_calls(room, pid, before)) for pid in names}
    start = min(float(found[0][0]) for found in calls.values())
    for pid, name in names.items():
        for when, call, number, data, count in calls[pid]:
            target = room.kind(os.readlink(f"/proc/{pid}/fd/{number}"))
            microseconds = 1e6 * (float(when) - start)
            print(f"{microseconds:8.0f} µs   {name:11}  {call:8}  {target:10}  {count} bytes: {data}")


def new_calls(room: Room, pid: int, before: dict[Path, int]) -> str:
    (path,) = (path for path in room.traces() if path.suffix == f".{pid}")
    return path.read_bytes()[before[path] :].decode()


def frozen_child(pitfall: str | None) -> None:
    """one client's process is stopped, while others talk, and goes on later"""
    with Room(pitfall) as room:
        ann, bob, cid = room.three()
        with stopped(room.children["Cid"]):
            print("Cid's child is stopped; Ann says 500 lines")
            heard, _ = say_and_hear(ann, bob, 500, 100, room.patience)
            if heard < 500:
                print(f"Bob hears nothing after line {heard}")
                return
            print("Bob hears them all")
        print("Cid's child goes on")
        tell_heard(cid, 500, 100, room.patience)


def late_reader(pitfall: str | None) -> None:
    """one client's process is stopped, while more is said than a ring holds, and goes on later"""
    with Room(pitfall, *SMALL_RINGS, "--stall-seconds", "30") as room:
        ann, bob, cid = room.three()
        with stopped(room.children["Cid"]):
            print(f"a ring has {RING_BYTES} bytes; Cid's child is stopped; Ann says 384 lines of 1024 bytes")
            patience = PATIENCE_SECONDS if pitfall else SHORT_PATIENCE_SECONDS  # with a pitfall nobody has to wait
            heard, _ = say_and_hear(ann, bob, 384, 1024, patience)
            print("Bob hears them all" if heard == 384 else "Bob hears a part, then Ann has to wait")
        print("Cid's child goes on")
        right = 0
        for number in range(384):
            if number > heard:
                os.write(ann.writing, line(number, 1024))
            if number >= heard:
                bob.next_line()
            right += cid.next_line() == line(number, 1024)
        print(f"of the 384 lines that Cid hears {right} are what Ann has said")


def eviction(pitfall: str | None) -> None:
    """one client's process is stopped, more is said than a ring holds, and it never goes on"""
    with Room(pitfall, *SMALL_RINGS) as room:
        ann, bob, cid = room.three()
        with contextlib.suppress(ProcessLookupError), stopped(room.children["Cid"]):
            print("Cid's child is stopped; Ann says 400 lines of 1000 bytes")
            heard, waited = say_and_hear(ann, bob, 400, 1000, PATIENCE_SECONDS)
            print(f"Bob hears {heard}; once he waits for {waited:.1f} s")
        tell_end(cid)
        room.tell_log()


def killed_child(pitfall: str | None) -> None:
    """one client's process is killed, in the middle of its line"""
    with Room(pitfall) as room:
        ann, bob, cid = room.three()
        cid.say(b"last words\nand half a li")
        bob.hears()
        ann.next_line()
        print("Cid's child is killed (SIGKILL)")
        os.kill(room.children["Cid"], signal.SIGKILL)
        tell_end(cid, room.patience)
        ann.say(b"where is Cid?\n")
        bob.hears()
        wait_until(lambda: room.children["Cid"] not in children(room.server.pid), "Cid's child to have gone")
        print(f"the parent has {len(children(room.server.pid))} children")


def killed_parent(pitfall: str | None) -> None:
    """the parent is killed, while one of its children is stopped"""
    with Room(pitfall) as room:
        ann, bob, cid = room.three()
        os.kill(room.children["Cid"], signal.SIGSTOP)
        print("Cid's child is stopped, and the parent is killed (SIGKILL)")
        began = time.monotonic()
        room.server.kill()
        room.server.wait()
        while any(map(alive, room.children.values())) and time.monotonic() - began < room.patience:
            time.sleep(MOMENT_SECONDS)
        left = sum(map(alive, room.children.values()))
        print(f"{left} children are left" + (f" after {room.patience:g} s" if left else f", {took(began)} later"))
        for person in (ann, bob, cid):
            tell_end(person, MOMENT_SECONDS if left else room.patience)


def took(began: float) -> str:
    return f"{1000 * (time.monotonic() - began):.0f} ms"


def tell_end(person: Person, patience: float = PATIENCE_SECONDS) -> None:
    """Read on until the connection ends, and print how."""
    try:
        while heard := person.next_line(patience):
            pass
        print(f"{person.name} waits" if heard is None else f"{person.name} hears the end of the connection")
    except OSError as error:
        print(f"{person.name} reads: {error.strerror}")


def slot_reuse(pitfall: str | None) -> None:
    """one leaves in the middle of a line, another one comes, and those who were there all the time speak"""
    with Room(pitfall) as room:
        ann, bob, cid = room.three()
        ann.say(b"I have to go, because my")
        room.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, room_scenes.RESET_AT_CLOSE)
        room.sockets[0].close()
        print("Ann's connection is reset")
        wait_until(lambda: room.children["Ann"] not in children(room.server.pid), "Ann's child to have gone")
        room.settle()
        dan = room.person("Dan")
        room.enter(bob, dan)
        while cid.next_line() != b"last probe\n":
            pass
        cid.say(b"I am still here\n")
        bob.hears(room.patience)
        dan.say(b"hello\n")
        bob.hears(room.patience)
        cid.hears(room.patience)


def newcomers(pitfall: str | None) -> None:
    """two come at once, to a server that has somebody already"""
    with Room(pitfall) as room:
        ann, bob = room.enter(room.person("Ann"), room.person("Bob"))
        with room.one_turn():
            cid, dan = room.person("Cid"), room.person("Dan")
            print("Cid and Dan connect")
        for number in (1, 2):
            here = 3 + (pitfall is None or number == 2)
            wait_until(lambda here=here: len(children(room.server.pid)) >= here, f"{here} children")
            room.settle()
            ann.say(b"welcome %d\n" % number)
            for person in (bob, cid, dan):
                person.hears(room.patience)
            if number == 1:
                print("Eve connects")
                room.person("Eve")


def speech(pitfall: str | None) -> None:
    """one says 20 lines at once, of which some come behind the ring's end"""
    with Room(pitfall, *SMALL_RINGS) as room:
        ann, bob, _ = room.three()
        say_and_hear(ann, bob, 120, 1024, PATIENCE_SECONDS)
        with stopped(room.children["Ann"]):
            print("Ann's child is stopped meanwhile: Ann says 20 lines of 1024 bytes at once")
            os.write(ann.writing, b"".join(line(number, 1024) for number in range(20)))
        tell_heard(bob, 20, 1024, room.patience)


def short_line(pitfall: str | None) -> None:
    """a line of six bytes: what comes"""
    with Room(pitfall) as room:
        ann, bob = room.person("Ann"), room.person("Bob")  # each has a child, so both are in
        ann.say(b"hello\n")
        bob.hears()
        room.settle()
        with contextlib.suppress(BlockingIOError):
            os.set_blocking(bob.reading, False)
            bob.came += os.read(bob.reading, 65536)
        print(f"and {len(bob.came)} bytes behind it, {bob.came.count(0)} of them NUL")


def two_servers(pitfall: str | None) -> None:
    """two servers run at the same time on one machine"""
    options = ("--max-clients", "8")
    os.environ["CHATLAB_SEGMENT"] = f"chat-room-{os.getpid()}"  # the pitfall's memory has a name: no other run's
    with Room(pitfall, *options) as ours, Room(pitfall, *options) as theirs:
        ann, bob = ours.enter(ours.person("Ann"), ours.person("Bob"))
        print("and in another room, of another server:")
        cid, dan = theirs.enter(theirs.person("Cid"), theirs.person("Dan"))
        for number in range(99):
            os.write(cid.writing, b"secret %d\n" % number)
            dan.next_line()
        print("Cid says 99 secrets to Dan")
        with stopped(ours.server.pid):
            bob.say(b"what do they say?\n")
            bob.hears(SHORT_PATIENCE_SECONDS)


def costs(pitfall: str | None) -> None:
    """fifty clients: what a process for each of them costs, beside lab 04's server"""
    kinds = {"lab 04, one process": room_scenes.Room, "lab 05, a process each": Room}
    print(f"{BUSY_CLIENTS} clients, {ROUNDS} lines of 64 bytes, one after the other")
    print("                           processes  private MB  wake-ups a line  processor ms a line")
    for name, kind in kinds.items():
        with kind(pitfall if kind is Room else None) as room, contextlib.redirect_stdout(None):
            people = room.enter(*(room.person(f"guest {number}") for number in range(BUSY_CLIENTS)))
            pids = [room.server.pid, *children(room.server.pid)]
            settle(pids)
            before = wake_ups(pids), processor_seconds(pids)
            for number in range(ROUNDS):
                os.write(people[0].writing, line(number, 64))
                for person in people[1:]:
                    person.next_line()
            settle(pids)
            woken, used = wake_ups(pids) - before[0], processor_seconds(pids) - before[1]
            private = sum(private_bytes(pid) for pid in pids) / 1e6
        print(f"   {name:24} {len(pids):8} {private:11.0f} {woken / ROUNDS:16.0f} {1000 * used / ROUNDS:20.2f}")


def wake_ups(pids: list[int]) -> int:
    """How often they have gone to sleep: proc_pid_status(5)."""
    return sum(
        int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])
        for pid in pids
    )


def processor_seconds(pids: list[int]) -> float:
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / TICK_NANOSECONDS


def private_bytes(pid: int) -> int:
    """What no other process has: Private_Clean and Private_Dirty of proc_pid_smaps(5)."""
    found = re.findall(r"^Private_\w+:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return 1024 * sum(map(int, found))


def coming_in(pitfall: str | None) -> None:
    """how long it takes from the connect to the first line that others hear, with a fork in it"""
    with Room(pitfall) as room:
        ann, _, _ = room.three()
        times = []
        for number in range(ROUNDS):
            began = time.monotonic()
            guest = room_scenes.Room.person(room, f"guest {number}")
            os.write(guest.writing, b"here I am\n")
            while ann.next_line() != b"here I am\n":
                pass
            times.append(1000 * (time.monotonic() - began))
        print(f"{ROUNDS} come and speak at once: heard after {statistics.median(times):.1f} ms (median)")


SCENES = {
    "who-has-what": who_has_what,
    "journey": journey,
    "coming-in": coming_in,
    "newcomers": newcomers,
    "speech": speech,
    "frozen-child": frozen_child,
    "late-reader": late_reader,
    "eviction": eviction,
    "killed-child": killed_child,
    "killed-parent": killed_parent,
    "slot-reuse": slot_reuse,
    "short-line": short_line,
    "two-servers": two_servers,
    "costs": costs,
}


if __name__ == "__main__":
    sys.exit(room_scenes.main(SCENES, "who-has-what", "lab 05's server, a process for each client", LAB))

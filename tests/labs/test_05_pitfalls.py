"""Lab 05's pitfalls: each misbehaves for certain, as its docstring says, and the reference in its place does not.

A process is stopped (SIGSTOP) wherever something has to happen before it looks again.
"""

import contextlib
import os
import re
import runpy
import signal
import threading
import time
from pathlib import Path

import pytest

from chatlab import procfs
from chatlab.launch import launch, run
from chatlab.load import admit
from tests.kit.waiting import alive, until
from tests.labs.test_04_poll_server import Member, newcomer, one_by_one, server_ends, server_side

ROOT = Path(__file__).resolve().parents[2]
SERVER = "labs/05_epoll_fork_shm/fork_shm_server.py"
PITFALLS = "labs/05_epoll_fork_shm/pitfalls.py"
STOPPING = "tests/labs/stops_after_a_look.py"
NAMES = [
    "waiting-at-the-door",
    "half-a-speech",
    "busy-with-a-full-ring",
    "closed-to-newcomers",
    "no-end-of-file",
    "orphans-live-on",
    "told-twice",
    "two-rooms-in-one",
    "old-words-behind-the-new",
    "written-over",
    "read-but-not-sent",
    "two-in-one-slot",
    "frozen-at-the-bell",
    "heard-too-late",
]
WRONG_AT_ONCE = {"closed-to-newcomers", "old-words-behind-the-new"}
TELLS_IT_BY_TWO = {"told-twice"}  # one of its methods keeps the log that is told twice
RING_BYTES = 131072
SMALL_RING = ("--queue-bytes", RING_BYTES, "--stall-seconds", 60)  # who is stopped here is not evicted
LOOKS = 100
LOOK_SECONDS = 0.001


def beside(pitfall: str):
    """Run a test twice: with the server (pitfall is None), and with the pitfall."""
    return pytest.mark.parametrize("pitfall", [None, pitfall], ids=["reference", pitfall])


@pytest.fixture
def segment():
    """A name for the shared memory of the pitfall that gives it one, and for no other test's."""
    name = f"chatlab-test-{os.getpid()}"
    yield name
    Path("/dev/shm", name).unlink(missing_ok=True)


@pytest.fixture
def serve(segment):
    """serve(*options, pitfall=None): a running server, ended after the test."""
    with contextlib.ExitStack() as stack:

        def serve(*options, pitfall=None):
            program = (PITFALLS, pitfall) if pitfall else (SERVER,)
            return stack.enter_context(launch(*program, "--port", 0, *options, env={"CHATLAB_SEGMENT": segment}))

        yield serve


@pytest.fixture
def join():
    """join(server, {}, {}, …): a client for each dict of options, known to be in the room, closed after the test."""
    with contextlib.ExitStack() as stack:

        def join(server, *each: dict):
            clients = [stack.enter_context(Member(server.address, **options)) for options in each]
            admit(clients)
            return clients

        yield join


def children(server) -> list[int]:
    return [each.pid for each in procfs.descendants(server.pid) if each.state != "Z"]


def child_of(server, client) -> int:
    """The child that holds the server's end of a client's connection."""
    return until(lambda: set(holders(server, client)) - {server.pid}, "the client to have a child").pop()


def holders(server, client) -> list[int]:
    """The processes that hold the server's end of a client's connection."""
    sockets = {f"socket:[{end.inode}]" for end in server_ends(client)}
    return [pid for pid in [server.pid, *children(server)] if sockets & set(procfs.descriptors(pid).values())]


def sleeps_in(pid: int, call: str = "epoll_wait") -> bool:
    return (procfs.waits_in(pid) or ("nothing",))[0] == call


def is_held_up(server, client) -> bool:
    """Its ring is full: its child sleeps, with something of it unread."""
    return server_side(client)[2] > 0 and sleeps_in(child_of(server, client))


@contextlib.contextmanager
def stopped(*pids: int):
    """While the block runs these processes are stopped."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
        until(lambda pid=pid: procfs.stat(pid).state == "T", "the process to be stopped")
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def saying(client, data: bytes):
    """Meanwhile the client says it all, and waits wherever it has to."""
    with meanwhile(lambda: client.send(data)):
        yield


@contextlib.contextmanager
def hearing(client, data: bytes):
    """Meanwhile the client hears so many bytes: they are in the list when the block has ended."""
    heard = []
    with meanwhile(lambda: heard.append(client.read_exactly(len(data)))):
        yield heard


@contextlib.contextmanager
def meanwhile(action):
    thread = threading.Thread(target=action)
    thread.start()
    yield
    thread.join()


def lines(count: int) -> list[bytes]:
    """Lines of 1024 bytes, of which no eight bytes side by side are those of another line."""
    return [b"%08d" % number * 127 + b"%07d\n" % number for number in range(count)]


# epoll.


@beside("waiting-at-the-door")
def test_all_who_come_at_once_are_let_in(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b = join(server, {}, {})
    with contextlib.ExitStack() as stack:
        with stopped(server.pid):
            late = [stack.enter_context(newcomer(server)) for _ in range(3)]
        if not pitfall:
            admit([a, b, *late])
            return
        admit([a, b, late[0]])
        one_by_one(a, b, 2)  # by now the parent has asked epoll again
        assert len(children(server)) == 3
        late.append(stack.enter_context(newcomer(server)))
        admit([a, b, *late[:2]])
        one_by_one(a, b, 2)
        assert len(children(server)) == 4


@beside("half-a-speech")
def test_all_that_is_said_at_once_is_heard(serve, join, pitfall):
    server = serve(*SMALL_RING, pitfall=pitfall)
    a, b = join(server, {}, {})
    first, rest = b"".join(lines(RING_BYTES // 1024 - 1)), b"".join(lines(20))
    with saying(a, first):
        assert b.read_exactly(len(first)) == first  # less than 1024 bytes are left until the ring begins again
    child = child_of(server, a)
    with stopped(child):
        a.send(rest)
        until(lambda: server_side(a)[2] == len(rest), "the bytes to have arrived")
    if not pitfall:
        assert b.read_exactly(len(rest)) == rest
        return
    until(lambda: server_side(a)[2] < len(rest) and sleeps_in(child), "the child to have read, and to sleep again")
    assert server_side(a)[2] > len(rest) - 1024
    one_by_one(b, a, 2)  # it hears, too, and goes to sleep again
    assert server_side(a)[2] > len(rest) - 1024 and rest[-1024:] not in b.arrived()


@beside("busy-with-a-full-ring")
def test_who_has_no_room_sleeps(serve, join, pitfall):
    server = serve(*SMALL_RING, pitfall=pitfall)
    a, _, c = join(server, {}, {}, {})
    talker = child_of(server, a)
    with stopped(child_of(server, c)):
        a.send(b"".join(lines(RING_BYTES // 1024 + 10)))
        if pitfall:
            until(lambda: server_side(a)[2] > 0 and looks(talker).count("R") > LOOKS // 2, "the child to spin")
        else:
            until(lambda: is_held_up(server, a) and set(looks(talker)) == {"S"}, "the child to sleep")


def looks(pid: int) -> list[str]:
    """The process's state, looked at again and again. Who spins is in state R even while it gets no processor."""
    states = []
    for _ in range(LOOKS):
        states.append(procfs.stat(pid).state)
        time.sleep(LOOK_SECONDS)
    return states


@beside("closed-to-newcomers")
def test_a_child_leaves_the_parents_epoll_alone(serve, pitfall):
    server = serve(pitfall=pitfall)
    (listener,) = [end for end in procfs.tcp_sockets(server.port) if end.state == "LISTEN"]
    (number,) = [fd for fd, name in procfs.descriptors(server.pid).items() if name == f"socket:[{listener.inode}]"]
    until(lambda: number in watched(server.pid), "the listener to be registered")
    with newcomer(server) as first:
        until(lambda: sleeps_in(child_of(server, first)), "the child to serve")
        assert (number in watched(server.pid)) == (pitfall is None)
        with newcomer(server) as second:
            if pitfall is None:
                admit([first, second])
            else:
                until(lambda: sleeps_in(server.pid), "the parent to sleep")
                assert len(children(server)) == 1


def watched(pid: int) -> set[int]:
    """The descriptors in the process's epoll: proc_pid_fdinfo(5)."""
    (epoll,) = [fd for fd, name in procfs.descriptors(pid).items() if name == "anon_inode:[eventpoll]"]
    return {
        int(number) for number in re.findall(r"^tfd: +(\d+)", Path(f"/proc/{pid}/fdinfo/{epoll}").read_text(), re.M)
    }


# fork.


@beside("no-end-of-file")
def test_a_connection_ends_with_its_process(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b, c = join(server, {}, {}, {})
    first = min(children(server))
    assert first in holders(server, a) and (server.pid in holders(server, a)) == (pitfall is not None)
    os.kill(first, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{first}").exists(), "the child to be waited for")
    if not pitfall:
        assert a.ended() == "reset"
        return
    one_by_one(b, c, 2)
    assert server_side(a)[0] == "ESTABLISHED" and a.how_ended is None


@beside("orphans-live-on")
def test_children_keep_nothing_of_their_siblings_and_end_with_the_parent(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, _, _ = join(server, {}, {}, {})
    pids = sorted(children(server))
    sockets = [sum(name.startswith("socket:") for name in procfs.descriptors(pid).values()) for pid in pids]
    assert sockets == ([3, 4, 5] if pitfall else [2, 2, 2])
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not alive(server.pid), "the parent to be dead")
    if not pitfall:
        until(lambda: not any(alive(pid) for pid in pids), "the children to have ended")
        return
    a.send_line(b"is anybody there?")
    until(lambda: server_side(a)[2] == 0, "the child to have read it")
    assert all(alive(pid) for pid in pids)


@beside("told-twice")
def test_what_the_parent_prints_is_printed_once(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b = join(server, {}, {})
    a.reset()
    until(lambda: len(children(server)) == 1, "its child to have ended")
    b.reset()
    until(lambda: not children(server), "the other child to have ended")
    server.signal(signal.SIGTERM)
    server.wait()
    welcomes = [server.output.count(f"welcome, 127.0.0.1:{client.port}\n") for client in (a, b)]
    assert welcomes == ([3, 2] if pitfall else [0, 0])


# Shared memory.


@beside("two-rooms-in-one")
def test_each_server_has_a_memory_of_its_own(serve, join, segment, pitfall):
    options = ("--max-clients", 4, "--queue-bytes", RING_BYTES)
    ours = serve(*options, pitfall=pitfall)
    a, b = join(ours, {}, {})
    theirs = serve(*options, pitfall=pitfall)
    c, d = join(theirs, {}, {})
    one_by_one(c, d, 50)
    with stopped(ours.pid):
        b.send_line(b"is anybody there?")
        until(lambda: server_side(b)[2] == 0 and sleeps_in(child_of(ours, b)), "the child to have read it")
        if pitfall:
            assert b.read_until(b"line 49")
        else:
            assert b.arrived() == b""
    path = Path("/dev/shm", segment)
    os.kill(ours.pid, signal.SIGKILL)
    until(lambda: not alive(ours.pid), "the server to be dead")
    assert path.exists() == (pitfall is not None)
    if pitfall:
        assert path.stat().st_mode & 0o777 == 0o644
        assert b"line 49\n" in path.read_bytes()
        theirs.signal(signal.SIGTERM)
        theirs.wait()
        assert not path.exists()


@beside("old-words-behind-the-new")
def test_a_line_comes_with_nothing_behind_it(serve, join, pitfall):
    server = serve(*SMALL_RING, pitfall=pitfall)
    a, b = join(server, {}, {})
    assert behind(b"hello\n", a, b) == (bytes(1024 - 6) if pitfall else b"")
    for line in lines(RING_BYTES // 1024):  # and now all of the ring is written
        a.send(line)
        until(lambda line=line: line[-8:] in b.arrived(), "the line to arrive")
    left = behind(b"short\n", a, b)
    assert len(left) == (1024 - 6 if pitfall else 0) and left in b"".join(lines(2))


def behind(line: bytes, speaker, listener) -> bytes:
    """What comes with a line, behind it: all that is there when the next thing that is said has come, too."""
    speaker.send(line)
    until(lambda: line in listener.arrived(), "the line to arrive")
    speaker.send(b"end\n")
    until(lambda: b"end\n" in listener.arrived(), "the next line to arrive")
    return bytes(listener.arrived().partition(line)[2].partition(b"end\n")[0])


@beside("written-over")
def test_who_is_stopped_hears_later_what_was_said(serve, join, pitfall):
    server = serve(*SMALL_RING, pitfall=pitfall)
    a, b, c = join(server, {}, {}, {})
    each = lines(3 * RING_BYTES // 1024)
    said = b"".join(each)
    if pitfall:
        with stopped(child_of(server, c)):
            for line in each:
                a.send(line)
                assert b.read_line() == line
        assert c.read_exactly(len(said)) != said
        return
    with saying(a, said), hearing(b, said) as heard:
        with stopped(child_of(server, c)):
            until(lambda: is_held_up(server, a), "the speaker to be held up")
        assert c.read_exactly(len(said)) == said
    assert heard == [said]


@beside("read-but-not-sent")
def test_who_reads_late_hears_what_was_said(serve, join, pitfall):
    server = serve(*SMALL_RING, pitfall=pitfall)
    a, b, c = join(server, {}, {}, {})
    said = b"".join(lines(1000))
    with saying(a, said), hearing(b, said) as heard:
        until(lambda: is_held_up(server, a), "the speaker to be held up")
        assert (c.read_exactly(len(said)) == said) == (pitfall is None)
    assert heard == [said] or pitfall


@beside("two-in-one-slot")
def test_who_stays_is_heard_when_others_come_and_go(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b, d = join(server, {}, {}, {})
    a.reset()
    until(lambda: len(procfs.descendants(server.pid)) == 2 and sleeps_in(server.pid), "its child to be buried")
    with newcomer(server) as c:
        admit([b, c])
        d.send_line(b"I am still here")
        until(lambda: server_side(d)[2] == 0 and sleeps_in(child_of(server, d)), "the child to have read it")
        until(lambda: sleeps_in(server.pid), "the parent to have looked")
        c.send_line(b"hi")
        assert b.read_until(b"hi") == ([b"hi\n"] if pitfall else [b"I am still here\n", b"hi\n"])
        b.send_line(b"bye")
        assert (b"hi\n" in d.read_until(b"bye")) == (pitfall is None)


# Doorbells.


@beside("frozen-at-the-bell")
def test_a_stopped_child_stops_nobody_else(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b, c = join(server, {}, {}, {})
    with stopped(child_of(server, c)):
        if not pitfall:
            one_by_one(a, b, 1000)
        else:
            heard = 0
            while heard < 1000 and not sleeps_in(server.pid, "sendto"):
                a.send_line(b"line %d" % heard)
                until(
                    lambda: b"\n" in b.arrived() or sleeps_in(server.pid, "sendto"), "the line, or the parent to wait"
                )
                heard += bool(b.arrived()) and bool(b.read_line())
            assert 100 < heard < 1000
    a.send_line(b"thawed")
    assert c.read_until(b"thawed") and b.read_until(b"thawed")


@pytest.mark.parametrize("which", ["reference", "pitfall"])
def test_no_bell_is_missed(join, which):
    with launch(STOPPING, which, "--port", 0) as server:
        a, b, c = join(server, {}, {}, {})
        until(lambda: sleeps_in(server.pid), "the parent to sleep")
        server.signal(signal.SIGUSR1)
        server.wait_for_text("armed")
        a.send_line(b"one")
        until(lambda: procfs.stat(server.pid).state == "T", "the parent to have looked")
        a.send_line(b"two")
        until(lambda: server_side(a)[2] == 0 and sleeps_in(child_of(server, a)), "the child to have read it, and rung")
        os.kill(server.pid, signal.SIGCONT)
        assert b.read_line() == b"one\n"
        until(lambda: sleeps_in(server.pid), "the parent to sleep")
        c.send_line(b"hm")
        if which == "reference":
            assert b.read_lines(2) == [b"two\n", b"hm\n"]
            return
        assert b.read_line() == b"hm\n"
        a.send_line(b"three")
        assert b.read_lines(2) == [b"two\n", b"three\n"]


# The program.


def test_without_a_name_they_are_listed():
    done = run(PITFALLS)
    assert done.returncode == 0
    assert re.findall(r"^  ([a-z0-9-]+) +Symptom: ", done.output, re.MULTILINE) == NAMES


@pytest.mark.parametrize("arguments", [["nonsense"], ["nonsense", "--port", "0"], ["-h"]])
def test_an_unknown_name_is_one_clear_line(arguments):
    done = run(PITFALLS, *arguments)
    assert (done.returncode, done.log.count("\n")) == (1, 1)
    assert done.log.startswith(f"pitfalls.py: no pitfall {arguments[0]!r}; there are: {', '.join(NAMES)}")


def test_each_replaces_one_step_and_tells_symptom_cause_and_cure(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "labs/05_epoll_fork_shm")
    there = runpy.run_path(ROOT / PITFALLS)
    assert list(there["PITFALLS"]) == NAMES
    for name, each in there["PITFALLS"].items():
        assert re.fullmatch(r"Symptom: .+\n *Cause: .+\n *Cure: .+\n? *", each.__doc__)
        replaced = [method for method, what in vars(each).items() if callable(what)]
        assert len(replaced) == (2 if name in TELLS_IT_BY_TWO else 1)
        assert all(hasattr(each.__base__, method) for method in replaced)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WRONG_AT_ONCE])
def test_a_pitfall_is_right_where_it_is_not_wrong(serve, join, name):
    server = serve("--max-clients", 8, pitfall=name)
    a, b = join(server, {}, {})
    with newcomer(server) as c:
        admit([a, b, c])
        a.send_line(b"hello")
        assert b.read_line() == c.read_line() == b"hello\n"
        b.send_line(b"hi")
        assert a.read_line() == c.read_line() == b"hi\n"


# The demonstrations: what they print is held against the handout, which shows it.


def test_a_scene_with_a_pitfall_that_there_is_not_is_one_line():
    done = run("docs/demos/fork_scenes.py", "who-has-what", "--pitfall", "nonsense")
    assert (done.returncode, done.output, done.log.count("\n")) == (1, "", 1)
    assert done.log.startswith("fork_scenes.py: pitfalls.py: no pitfall 'nonsense'; there are: ")


@pytest.mark.parametrize("arguments", [("fork_scenes.py", "opera"), ("shared_memory.py", "--part", "opera")])
def test_a_demonstration_refuses_bad_input(arguments):
    program, *options = arguments
    done = run(f"docs/demos/{program}", *options)
    assert (done.returncode, done.output) == (2, "")
    assert "invalid choice: 'opera'" in done.log.splitlines()[-1]

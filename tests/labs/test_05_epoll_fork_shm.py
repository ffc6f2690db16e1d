"""Lab 05 as a black box: the server's processes and descriptors, its bounds, and what it bears: kills and freezes.

What goes over the wire, and a room of children, is held against its contract by tests/conformance too; each pitfall
beside the reference by test_05_pitfalls.py; the shared log by itself by test_05_shared_log.py.
"""

import contextlib
import fcntl
import functools
import os
import re
import resource
import select
import shutil
import signal
import struct
import sys
import termios

import pytest

from chatlab import procfs
from chatlab.launch import launch, run
from chatlab.load import admit
from tests.conformance.room import frozen
from tests.kit.waiting import alive, until
from tests.labs import output
from tests.labs.test_04_poll_server import (
    CLIENT,
    LINE,
    SLOW,
    Member,
    logs,
    needs_strace,
    newcomer,
    one_by_one,
    program_speaks_and_hears,
    say,
    server_ends,
    server_side,
    talk,
)

SERVER = "labs/05_epoll_fork_shm/fork_shm_server.py"
RING_BYTES = 131072  # the smallest
SMALL_RING = ("--queue-bytes", RING_BYTES)
PATIENT = ("--stall-seconds", 60)  # who is frozen here for a moment is not evicted
BELLS = 300  # more than the 277 that a socketpair takes
TRACEBACK = "Traceback (most recent call last)"


@pytest.fixture
def serve():
    """serve(*options, trace=False, port=0): a running server, ended after the test. It never tells a traceback."""
    servers = []
    with contextlib.ExitStack() as stack:

        def serve(*options, port=0, **how):
            servers.append(stack.enter_context(launch(SERVER, "--port", port, *options, **how)))
            return servers[-1]

        yield serve
    assert not [server.log for server in servers if TRACEBACK in server.log]


@pytest.fixture
def join():
    """join(server, {}, {}, …): a client for each dict of options, known to be in the room, closed after the test.

    inside: those that are in it already, so that none of them is left with the lines by which this is known.
    """
    with contextlib.ExitStack() as stack:

        def join(server, *each: dict, inside=()):
            clients = [stack.enter_context(Member(server.address, **options)) for options in each]
            admit([*inside, *clients])
            return clients

        yield join


# Processes, as the kernel shows them.


def children(server) -> list[int]:
    """The pids of the server's children, zombies among them."""
    return [each.pid for each in procfs.descendants(server.pid)]


@functools.cache
def child_of(client) -> int:
    """The child that serves a client: it holds the server's end of the connection."""
    held = {f"socket:[{end.inode}]" for end in server_ends(client)}
    [child] = [pid for pid in procfs.processes() if not held.isdisjoint(procfs.descriptors(pid).values())]
    return child


def sleeps(pid: int) -> bool:
    return (procfs.waits_in(pid) or ("nothing",))[0] in ("epoll_wait", "epoll_pwait")


def are_gone(pids: list[int]) -> None:
    until(lambda: not any(map(alive, pids)), "the processes to be gone")


def is_read(client) -> bool:
    """Has all that it has sent arrived, and has its child read it? SIOCOUTQ of linux/sockios.h counts what has not."""
    [on_its_way] = struct.unpack("i", fcntl.ioctl(client.socket, termios.TIOCOUTQ, bytes(4)))
    return not on_its_way and server_side(client)[2] == 0 and sleeps(child_of(client))


def says_and_is_read(client, data: bytes) -> None:
    client.send(data)
    until(lambda: is_read(client), "the child to have read it")


def wakes(client, data: bytes) -> None:
    """Say it, and wait until the child has woken, and sleeps again."""
    child = child_of(client)
    until(lambda: sleeps(child), "the child to sleep")
    before = times_slept(child)
    client.send(data)
    until(lambda: times_slept(child) > before and sleeps(child), "the child to have woken")


def times_slept(pid: int) -> int:
    return int(procfs.status(pid)["voluntary_ctxt_switches"])


def fill(client) -> int:
    """Say lines of 1000 bytes until neither the child nor the kernel takes more. Returns the bytes that they took."""
    child, taken = child_of(client), 0
    client.socket.setblocking(False)
    while True:
        with contextlib.suppress(BlockingIOError):
            while True:
                taken += client.socket.send(LINE[taken % len(LINE) :])
        full = not select.select([], [client.socket], [], 0)[1]
        if full and sleeps(child) and server_side(client)[2]:
            client.socket.settimeout(client.timeout)
            return taken


# The command line.


def test_help_explains_every_option():
    done = run(SERVER, "-h")
    options = {"--host", "--port", "--max-clients", "--queue-bytes", "--stall-seconds", "--half-close-seconds"}
    assert (done.returncode, done.log) == (0, "")
    assert options <= set(re.findall(r"^  (--[a-z-]+) .*\S", done.output, re.MULTILINE))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "65536"], "--port is 65536, but a port is between 0 and 65535"),
        (["--port", "-1"], "--port is -1, but a port is between 0 and 65535"),
        (["--port", "http"], "argument --port: invalid int value: 'http'"),
        (["--max-clients", "0"], "--max-clients is 0, but must be greater than 0"),
        (["--queue-bytes", "0"], "--queue-bytes is 0, but must be greater than 0"),
        (["--queue-bytes", "1.5"], "argument --queue-bytes: invalid int value: '1.5'"),
        (["--stall-seconds", "-1"], "--stall-seconds is -1.0, but must be greater than 0"),
        (["--stall-seconds", "inf"], "--stall-seconds is inf, but must be greater than 0"),
        (["--half-close-seconds", "nan"], "--half-close-seconds is nan, but must be greater than 0"),
        (["--half-close-seconds", "soon"], "argument --half-close-seconds: invalid float value: 'soon'"),
        (["9999"], "unrecognized arguments: 9999"),
    ],
)
def test_a_bad_argument_is_one_line(arguments, says):
    done = run(SERVER, *arguments)
    assert (done.returncode, done.output, done.log) == (2, "", f"fork_shm_server.py: {says}\n")


def test_a_host_that_is_not_here_is_one_line():
    done = run(SERVER, "--host", "192.0.2.1", "--port", "0")
    says = "fork_shm_server: cannot listen on 192.0.2.1:0: Cannot assign requested address\n"
    assert (done.returncode, done.output, done.log) == (1, "", says)


def test_a_port_in_use_is_one_line(serve):
    server = serve()
    done = run(SERVER, "--port", server.port)
    says = f"fork_shm_server: cannot listen on 127.0.0.1:{server.port}: Address already in use\n"
    assert (done.returncode, done.output, done.log) == (1, "", says)


def test_more_clients_than_descriptors_are_one_line():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = run(SERVER, "--port", "0", "--max-clients", hard)
    says = f"fork_shm_server: {hard} clients need more descriptors than the {hard} that are allowed\n"
    assert (done.returncode, done.output, done.log) == (1, "", says)


@pytest.mark.parametrize("ring_bytes", [10**30, 2**63, 2**50])
def test_more_memory_than_there_is_is_one_line(ring_bytes):
    done = run(SERVER, "--port", "0", "--queue-bytes", ring_bytes)
    assert (done.returncode, done.output) == (1, "")
    says = rf"fork_shm_server: no memory for 1024 rings of {ring_bytes} bytes: .*\n"
    assert re.fullmatch(says, done.log)


def test_ready_is_one_line_on_standard_output(serve):
    server = serve("--host", "localhost")
    assert server.output == f"listening on 127.0.0.1:{server.port}\n"
    assert server.log == ""
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    assert soft == hard


@pytest.mark.parametrize("program", [(SERVER, "--port", "0"), (SERVER, "-h")])
def test_output_that_takes_nothing_is_one_line_or_silence(program):
    assert output.onto_a_full_disk(*program) == (1, output.no_space(program[0]))
    assert output.to_a_reader_of(0, *program) == (1, "")
    assert output.closed(*program) == (1, output.is_closed(program[0]))


def test_a_log_that_nobody_reads_ends_no_room(join):
    closed = ["-c", 'exec "$@" 2>&-', "sh", sys.executable, SERVER, "--port", "0", "--max-clients", "2"]
    with launch(shutil.which("sh"), *closed) as server:
        a, b = join(server, {}, {})
        with Member(server.address) as third:
            assert third.read_to_end().startswith(b"* ")
        one_by_one(a, b, 3)


def test_times_beyond_all_measure_are_kept(serve, join):
    server = serve("--half-close-seconds", "1e300", "--stall-seconds", "1e308", "--queue-bytes", "1")
    a, b, c = join(server, {}, {}, SLOW)
    a.end_input()
    b.send(b"x" * 60_000 + b"\n")
    assert len(a.read_line()) == len(c.read_line()) == 60_001
    b.send_line(b"still there?")
    assert a.read_line() == b"still there?\n"


# A process for each client.


def test_each_client_has_a_child_of_the_server(serve, join):
    server = serve()
    clients = join(server, {}, {}, {})
    serving = [child_of(client) for client in clients]
    assert sorted(serving) == sorted(children(server))
    assert {procfs.stat(pid).parent for pid in serving} == {server.pid}
    clients[2].reset()
    until(lambda: len(children(server)) == 2, "the child to end, and to be waited for")
    assert set(children(server)) == set(serving[:2])


def test_a_child_holds_its_client_and_its_bell_and_nothing_of_its_siblings(serve, join):
    server = serve()
    clients = join(server, {}, {}, {})
    clients.pop(1).reset()
    until(lambda: len(children(server)) == 2, "the child to end")
    clients += join(server, {}, {}, inside=clients)
    until(lambda: all(map(sleeps, children(server))), "the children to have let go")
    for client in clients:
        assert kinds(server, child_of(client)) == ["bell", "connection", "epoll"]
    spare = ["bell", "bell"]  # the socketpair of the next child is made before it is accepted
    assert kinds(server) == ["bell"] * 4 + spare + ["epoll", "listener"]


def kinds(server, pid: int | None = None) -> list[str]:
    """What a process of the server, or the parent, has open beyond descriptors 0 to 2."""
    names = {f"socket:[{end.inode}]": "connection" for end in procfs.tcp_sockets(server.port)}
    names |= {name: "listener" for name in names if name == listener_of(server)}
    names["anon_inode:[eventpoll]"] = "epoll"
    beyond = [name for number, name in procfs.descriptors(pid or server.pid).items() if number > 2]
    return sorted(names.get(name, "bell" if name.startswith("socket:") else name) for name in beyond)


def listener_of(server) -> str:
    [inode] = [end.inode for end in procfs.tcp_sockets(server.port) if end.state == "LISTEN"]
    return f"socket:[{inode}]"


def test_churn_leaves_nothing(serve, join):
    server = serve()
    a, b = join(server, {}, {})
    for number in range(300):
        with Member(server.address) as client:
            client.send(b"line %d\nhalf a li" % number)
            if number % 3 == 0:
                assert b.read_until(b"line %d" % number)
            client.reset() if number % 2 else client.close()
    until(lambda: len(children(server)) == 2, "300 children to be gone")
    a.send_line(b"the end")
    b.read_until(b"the end")
    assert kinds(server) == ["bell"] * 4 + ["epoll", "listener"]
    assert server.log == ""


def test_the_shared_memory_has_no_name_that_could_be_left(serve, join):
    server = serve()
    one_by_one(*join(server, {}, {}), 1)
    for pid in (server.pid, *children(server)):
        with open(f"/proc/{pid}/maps") as file:
            shared = {line.split(maxsplit=5)[5].strip() for line in file if line.split()[1] == "rw-s"}
        assert shared == {"/dev/zero (deleted)"}, "mmap(2), MAP_ANONYMOUS: it ends with the last process that has it"


# Children killed and frozen.


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_is_killed_costs_its_client_only(serve, join, number):
    server = serve()
    a, b, c = join(server, {}, {}, {})
    with frozen(server.pid):  # so that the parent hears of words and end together
        says_and_is_read(a, b"last words\nhalf a li")
        os.kill(child_of(a), number)
        assert a.ended() == "reset"
    assert b.read_line() == c.read_line() == b"last words\n"
    until(lambda: len(children(server)) == 2, "the child to be waited for")
    one_by_one(b, c, 10)
    assert server.log == ""


def test_what_was_on_its_way_to_a_client_whose_child_is_killed_is_a_beginning(serve, join):
    server = serve(*PATIENT)
    speaker, reader, victim = join(server, {}, {}, SLOW)
    child = child_of(victim)
    lines = b"".join(b"%d %s\n" % (number, b"x" * 5000) for number in range(200))
    speaker.send(lines)
    assert reader.read_exactly(len(lines)) == lines
    until(lambda: sleeps(child), "the child to have sent what the kernel takes")
    os.kill(child, signal.SIGKILL)
    assert victim.ended() == "reset", "not FIN, which would say that this was all"
    assert victim.received and lines.startswith(victim.received)
    one_by_one(speaker, reader, 3)


def test_an_interrupt_to_a_child_is_ignored(serve, join):
    server = serve()
    a, b = join(server, {}, {})
    for child in children(server):
        os.kill(child, signal.SIGINT)
    one_by_one(a, b, 3)
    one_by_one(b, a, 3)


def test_while_a_child_is_frozen_the_room_goes_on_and_then_it_has_everything(serve, join):
    server = serve(*PATIENT)
    a, b, cold = join(server, {}, {}, {})
    with frozen(child_of(cold)):
        one_by_one(a, b, 2 * BELLS)  # more rings than its socketpair takes
        cold.send_line(b"brr")
        one_by_one(b, a, 1)
    assert cold.read_lines(2 * BELLS + 1) == [*(b"line %d\n" % n for n in range(2 * BELLS)), b"line 0\n"]
    assert a.read_line() == b.read_line() == b"brr\n"
    assert cold.arrived() == b""


def test_while_the_parent_is_frozen_nothing_is_lost_of_what_children_read(serve, join):
    server = serve(*SMALL_RING, *PATIENT)
    a, b, c = join(server, {}, {}, {})
    said = b"".join(b"%d\n" % number for number in range(2 * BELLS))
    with frozen(server.pid):
        for line in said.splitlines(keepends=True):  # a ring for each of them, more than its socketpair takes
            wakes(a, line)
        taken = fill(a)  # now the ring is full, too, and a question has to wait
        assert taken > RING_BYTES - len(said)
        says_and_is_read(b, b"me too\n")
    rest = -taken % len(LINE)
    said += LINE * ((taken + rest) // len(LINE))
    all_hear(a, LINE[len(LINE) - rest :], {a: 7, b: len(said), c: len(said) + 7})
    assert b.unread == said
    assert c.unread.replace(b"me too\n", b"", 1) == said
    assert a.unread == b"me too\n"


def all_hear(speaker, data: bytes, lengths: dict) -> None:
    """Say the rest while all read, until each of them has as many bytes to read as it must have."""
    left = memoryview(data)

    def all_is_heard() -> bool:
        nonlocal left
        speaker.socket.setblocking(False)  # to have read with a time limit leaves it with that limit
        with contextlib.suppress(BlockingIOError):
            left = left[speaker.socket.send(left) :] if left else left
        return {client: len(client.arrived()) for client in lengths} == lengths

    until(all_is_heard, "all to be heard")


def test_a_question_that_does_not_fit_among_the_bells_is_asked_later(serve, join):
    server = serve(*SMALL_RING, *PATIENT)
    speaker, reader, cold = join(server, {}, {}, {})
    with frozen(child_of(cold)):
        one_by_one(speaker, reader, BELLS)
        taken = fill(speaker)
        until(lambda: sleeps(server.pid), "the parent to wait for the frozen child")
    rest = -taken % len(LINE)
    said = LINE * ((taken + rest) // len(LINE))
    bells = b"".join(b"line %d\n" % number for number in range(BELLS))
    all_hear(speaker, LINE[len(LINE) - rest :], {reader: len(said), cold: len(bells + said)})
    assert reader.unread == said
    assert cold.unread == bells + said


@pytest.mark.parametrize("how", ["frozen", "deaf"])
def test_who_keeps_others_waiting_is_evicted_and_nobody_else_loses_anything(serve, join, how):
    server = serve(*SMALL_RING)
    speaker, reader, bad = join(server, {}, {}, SLOW)
    with frozen(child_of(bad)) if how == "frozen" else contextlib.nullcontext():
        talk(speaker, [reader], 5000)
        until(lambda: len(children(server)) == 2, "the child to be killed, and to be waited for")
        assert bad.ended() == "reset"
    logs(server, rf"127\.0\.0\.1:{bad.port}: evicted: others wait for it, and it takes nothing\n")
    assert reader.unread == LINE * 5000
    one_by_one(reader, speaker, 3)


@needs_strace
def test_after_an_eviction_the_room_goes_on_at_once(serve, join):
    server = serve(*SMALL_RING, trace=True)
    speaker, reader, bad = join(server, {}, {}, {})
    with frozen(child_of(bad)):
        talk(speaker, [reader], 1000)
    parents = server.trace.of(server.pid).named("kill", "sendto", "epoll_wait", "epoll_pwait")
    names = [call.name for call in parents]
    killed = names.index("kill")
    rung = names.index("sendto", killed)
    slept = [call for call in parents[killed:rung] if call.name.startswith("epoll") and call.result == 0]
    assert not slept, "no timer is waited for"


def test_who_speaks_much_and_does_not_listen_is_heard(serve, join):
    server = serve(*SMALL_RING, *PATIENT)
    talker, a, b = join(server, SLOW, {}, {})
    talk(talker, [a, b], 5000)
    assert a.unread == b.unread == LINE * 5000
    assert server.log == ""


def test_of_two_that_speak_much_and_do_not_listen_one_is_evicted_and_what_was_heard_is_whole(serve, join):
    server = serve(*SMALL_RING)
    one, other, reader = join(server, SLOW, SLOW, {})
    data = LINE * 5000
    left = {one: memoryview(data), other: memoryview(data)}

    def one_is_gone() -> bool:
        for client in left:
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                left[client] = left[client][client.socket.send(left[client]) :]
        reader.arrived()
        return "evicted" in server.log

    until(one_is_gone, "the eviction")
    assert {line.partition(": ")[0].split(":")[1] for line in server.log.splitlines()} <= {
        str(one.port),
        str(other.port),
    }
    heard = reader.unread
    assert (LINE * (len(heard) // len(LINE) + 1)).startswith(heard)


# The end.


def test_when_the_parent_is_killed_no_child_is_left(serve, join):
    server = serve()
    clients = join(server, {}, {}, {})
    there = children(server)
    with frozen(child_of(clients[0])):
        os.kill(server.pid, signal.SIGKILL)
        are_gone(there)
        for client in clients:
            client.ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_without_a_word(serve, join, number):
    server = serve()
    clients = join(server, {}, {}, {})
    there = children(server)
    until(lambda: all(map(sleeps, [server.pid, *there])), "the server to sleep")
    server.signal(number)
    assert server.wait() == 0
    assert server.log == ""
    assert not any(map(alive, there))
    assert [client.ended() for client in clients] == ["end of file"] * 3


def test_an_interrupt_from_the_terminal_reaches_all_of_them_and_ends_it_as_well(serve, join):
    server = serve()
    clients = join(server, {}, {}, {})
    there = children(server)
    until(lambda: all(map(sleeps, [server.pid, *there])), "the server to sleep")
    assert {procfs.stat(pid).group for pid in there} == {server.pid}
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait() == 0
    assert server.log == ""
    assert not any(map(alive, there))
    assert [client.ended() for client in clients] == ["end of file"] * 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_child_that_is_frozen_does_not_outlive_it(serve, join, number):
    server = serve()
    clients = join(server, {}, {}, {})
    there = children(server)
    with frozen(child_of(clients[0])):
        server.signal(number)
        assert server.wait() == 0
        are_gone(there)
    assert server.log == ""
    assert [client.ended() for client in clients] == ["reset", "end of file", "end of file"]


def test_a_signal_ends_it_while_senders_wait(serve, join):
    server = serve(*SMALL_RING, *PATIENT)
    speaker, _deaf = join(server, {}, SLOW)
    fill(speaker)
    there = children(server)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log == ""
    assert not any(map(alive, there))


def test_restarted_it_listens_on_the_same_port(serve, join):
    server = serve()
    a, b = join(server, {}, {})
    server.signal(signal.SIGTERM)
    server.wait()
    assert a.ended() == b.ended() == "end of file"
    one_by_one(*join(serve(port=server.port), {}, {}), 3)


# Newcomers that cannot be served.


@needs_strace
def test_a_fork_that_fails_costs_the_newcomer_only(serve, join):
    server = serve(trace="-e inject=clone,clone3,fork,vfork:error=EAGAIN:when=3")
    a, b = join(server, {}, {})
    with Member(server.address) as third:
        third.send(b"hello\n")
        assert third.ended() == "end of file"
        notice = b"* no process for you: Resource temporarily unavailable, try again later\n"
        assert bytes(third.received) == notice
    logs(server, re.escape(f"127.0.0.1:{third.port}: {notice.decode()[2:]}"))
    one_by_one(a, b, 3)
    [fourth] = join(server, {}, inside=[a, b])
    one_by_one(fourth, b, 3)


def test_who_is_too_many_reads_why(serve, join):
    server = serve("--max-clients", "2")
    a, b = join(server, {}, {})
    with frozen(server.pid):
        third = newcomer(server)
        say(third, b"hello\n")
    notice = b"* this room is full (2 clients), try again later\n"
    with third:
        assert third.ended() == "end of file"
        assert bytes(third.received) == notice
    logs(server, re.escape(f"127.0.0.1:{third.port}: {notice.decode()[2:]}"))
    one_by_one(a, b, 3)
    b.reset()
    until(lambda: len(children(server)) == 1, "its child to be gone")
    [fourth] = join(server, {}, inside=[a])
    one_by_one(fourth, a, 3)


def test_without_descriptors_it_sleeps_and_newcomers_get_in_again(serve, join):
    server = serve()
    a, b, third = join(server, {}, {}, {})
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (max(procfs.descriptors(server.pid)) + 1, hard))
    fourth = newcomer(server)
    says = "accept: Too many open files: newcomers must wait\n"
    server.wait_for_text(says, where="log")
    until(lambda: sleeps(server.pid), "the parent to sleep, with the newcomer still at the door")
    one_by_one(a, b, 50)
    third.close()
    admit([a, fourth])
    assert server.log == says * server.log.count(says)


# Slots.


def test_a_slot_that_is_used_again_shows_nothing_of_its_forerunner(serve, join):
    server = serve("--max-clients", "2", *SMALL_RING)  # so that a newcomer gets the one slot that is free
    a, b = join(server, {}, {})
    for number in range(40):
        end = b"end of %d\n" % number
        says_and_is_read(a, LINE * (number % 7 * 3) + b"whole %d\nhalf of %d" % (number, number))
        assert b.read_until(b"whole %d" % number)[:-1] == [LINE] * (number % 7 * 3)
        a.reset() if number % 2 else os.kill(child_of(a), signal.SIGKILL)
        until(lambda: len(children(server)) == 1, "the slot to be free")
        a.close()
        [a] = join(server, {}, inside=[b])
        a.send(end)
        assert b.read_line() == end
        b.send_line(b"heard")
        assert a.read_line() == b"heard\n"


# One order, and who is woken for it.


def test_all_see_one_order_of_lines(serve, join):
    server = serve(*SMALL_RING)
    clients = join(server, {}, {}, {}, {}, {})
    *speakers, listener = clients
    count = 500
    data = {client: b"".join(b"%d %d\n" % (who, n) for n in range(count)) for who, client in enumerate(speakers)}
    left = {client: memoryview(said) for client, said in data.items()}
    total = sum(map(len, data.values()))

    def all_is_heard() -> bool:
        for turn, client in enumerate(speakers):
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                left[client] = (
                    left[client][client.socket.send(left[client][: 50 + 7 * turn]) :] if left[client] else b""
                )
        return [len(client.arrived()) for client in clients] == [
            total - len(data.get(client, b"")) for client in clients
        ]

    until(all_is_heard, "all to be heard")
    order = listener.unread.splitlines()
    assert len(set(order)) == len(speakers) * count
    for who, client in enumerate(speakers):
        assert client.unread.splitlines() == [line for line in order if not line.startswith(b"%d " % who)]


@needs_strace
def test_a_line_wakes_the_parent_once_and_each_child_once(serve, join):
    server = serve(trace=True)
    a, b, c = join(server, {}, {}, {})
    serving = {client: child_of(client) for client in (a, b, c)}
    before = wake_ups(server)
    for _ in range(50):
        one_by_one(a, b, 1)
        c.read_line()
        until(lambda: all(map(sleeps, [server.pid, *children(server)])), "all to sleep again")
    woken = {pid: count - before[pid] for pid, count in wake_ups(server).items()}
    assert woken == {server.pid: 50, serving[a]: 100, serving[b]: 50, serving[c]: 50}, "the speaker's, by its bell too"


def wake_ups(server) -> dict[int, int]:
    """For each process of the server: how often epoll_wait has returned."""
    calls = server.trace.named("epoll_wait", "epoll_pwait")
    ended = [call.pid for call in calls if call.result is not None]
    return {pid: ended.count(pid) for pid in [server.pid, *children(server)]}


@needs_strace
def test_what_is_said_at_once_is_sent_at_once(serve, join):
    server = serve(trace=True)
    speaker, *listeners = join(server, {}, {}, {}, {})
    before = len(server.trace.named("sendmsg"))
    speaker.send(b"".join(b"line %d\n" % number for number in range(100)))  # one segment
    for client in listeners:
        client.read_until(b"line 99")
    assert len(server.trace.named("sendmsg")) - before == 3


@needs_strace
def test_each_connection_is_non_blocking_and_without_nagle(serve, join):
    server = serve(trace=True)
    for client in join(server, {}, {}):
        child = child_of(client)
        [connection] = [f"socket:[{end.inode}]" for end in server_ends(client)]
        [fd] = [fd for fd, name in procfs.descriptors(child).items() if name == connection]
        calls = [call.text for call in server.trace.of(child).named("fcntl", "ioctl", "setsockopt") if call.fd == fd]
        assert any("O_NONBLOCK" in text or "FIONBIO" in text for text in calls)
        assert any("TCP_NODELAY, [1]" in text for text in calls)


# What is logged, and who else is a client.


def test_a_line_too_long_is_logged(serve, join):
    server = serve()
    a, _b = join(server, {}, {})
    a.send(b"x" * 65_536)
    notice = "a line has at most 65536 bytes, its newline included"
    assert a.read_to_end() == f"* {notice}\n".encode()
    logs(server, re.escape(f"127.0.0.1:{a.port}: {notice}\n"))


def test_who_has_half_closed_stays_for_the_time_that_was_given(serve, join):
    server = serve("--half-close-seconds", "0.1")
    a, b, c = join(server, {}, {}, {})
    a.end_input()
    assert a.ended() == "end of file"
    one_by_one(b, c, 3)
    assert server.log == ""


def test_a_line_that_fills_the_smallest_ring_to_the_half_leaves_room_for_the_longest(serve, join):
    server = serve("--queue-bytes", "1", *PATIENT)
    a, b = join(server, {}, {})
    with frozen(child_of(a)):  # who reads nothing, so that nothing is given back
        says_and_is_read(b, b"x" * 65_535 + b"\n" + b"y" * 65_535)
        b.send(b"\n")
        until(lambda: server_side(b)[2] == 1 and sleeps(child_of(b)) and sleeps(server.pid), "the newline to wait")
    assert a.read_lines(2) == [b"x" * 65_535 + b"\n", b"y" * 65_535 + b"\n"]


@pytest.mark.parametrize("name", [CLIENT, "nc", "ncat", "socat", "telnet"])
def test_other_programs_are_members(serve, join, name):
    if name != CLIENT and shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    program_speaks_and_hears(serve, join, shutil.which(name) or name)

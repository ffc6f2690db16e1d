"""Lab 01 as black boxes: the demonstration, the server, and each pitfall misbehaving in its own respect only."""

import os
import re
import select
import shutil
import signal
import socket
import struct

import pytest

from chatlab import procfs
from chatlab.launch import LaunchError, launch, run
from tests.labs import output

DEMO = "labs/01_fork/fork_demo.py"
SERVER = "labs/01_fork/fork_server.py"
PITFALLS = "labs/01_fork/pitfalls.py"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def demo(part: str, *options: str) -> list[str]:
    """The lines that one part of the demonstration prints, without its heading."""
    done = run(DEMO, "--part", part, *options)
    assert (done.returncode, done.log) == (0, "")
    return done.output.splitlines()[2:]


def pitfall(name: str) -> list[str]:
    done = run(PITFALLS, name)
    assert done.returncode == 0
    return done.output.splitlines()


def serve(*options: str, program: tuple[str, ...] = (SERVER,), **how):
    return launch(*program, "--port", "0", *options, **how)


def talk(server) -> socket.socket:
    """A client that is being served: one line has come back to it."""
    client = server.connect()
    client.sendall(b"hello\n")
    assert client.recv(100) == b"hello\n"
    return client


def readable(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0)[0])


def children(server) -> list[procfs.Stat]:
    return [process for process in procfs.processes().values() if process.parent == server.pid]


def wait_for_log(server, pattern: str, times: int = 1) -> list[str]:
    """Wait until the log holds the pattern so many times."""
    server.wait_for(lambda: len(re.findall(pattern, server.log)) >= times, f"log to hold {pattern!r} {times} times")
    return re.findall(pattern, server.log)


def wait_for_state(pid: int, state: str, seconds: float = 10.0) -> None:
    """Wait until a process that is not our child is in a state of /proc/PID/stat, such as T or Z."""
    timer = select.poll()
    for _ in range(int(seconds * 200)):
        process = procfs.stat(pid)
        if process and process.state == state:
            return
        timer.poll(5)
    raise AssertionError(f"process {pid} is {procfs.stat(pid)}, not in state {state}")


def kill_for_good(server) -> None:
    """SIGKILL the server alone, and wait for its end: its children live on."""
    pidfd = os.pidfd_open(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)


# The demonstration.


def test_demo_tells_every_part_and_ends_by_itself():
    done = run(DEMO, "--races", "3")
    assert (done.returncode, done.log) == (0, "")
    headings = re.findall(r"^== (\w+): .* ==$", done.output, re.MULTILINE)
    assert headings == ["fork", "order", "buffer", "zombies", "connection", "failure"]
    assert done.output.count("I am alone") == 1, "the story is told once: no child has run on, no buffer was copied"


def test_demo_fork_returns_twice_and_each_process_counts_alone():
    lines = demo("fork")
    parent, pid = re.search(
        r"^parent (\d+): fork returned (\d+) to me.*my count is 1$", "\n".join(lines), re.M
    ).groups()
    child = re.search(
        r"^child  (\d+): fork returned 0 to me; my parent is (\d+); my count is 1$", "\n".join(lines), re.M
    )
    assert child.groups() == (pid, parent)
    assert lines[0] == f"process {parent}: I am alone, and my count is 0"
    assert len(lines) == 4


def test_demo_order_counts_every_race_and_waiting_decides():
    rows = [
        re.search(r"parent first +(\d+) times, child first +(\d+) times", row) for row in demo("order", "--races", "20")
    ]
    counts = [tuple(map(int, row.groups())) for row in rows if row]
    assert len(counts) == 3
    assert [sum(row) for row in counts] == [20, 20, 20]
    assert counts[2] == (0, 20)


def test_demo_a_buffered_line_is_there_twice_in_a_file_only():
    table = [line.split() for line in demo("buffer")[2:-1]]
    assert table == [
        ["terminal", "no", "exit", "1", "x"],
        ["terminal", "yes", "exit", "1", "x"],
        ["terminal", "no", "_exit", "1", "x"],
        ["file", "no", "exit", "2", "x"],
        ["file", "yes", "exit", "1", "x"],
        ["file", "no", "_exit", "1", "x"],
    ]


def test_demo_zombies_stay_until_they_are_waited_for():
    *said, before, statuses, after = demo("zombies", "--count", "4")
    pids = {
        int(pid): int(status) for pid, status in re.findall(r"child (\d+): I leave with status (\d)", "\n".join(said))
    }
    assert sorted(pids.values()) == [1, 2, 3, 4]
    assert set(map(int, re.findall(r"(\d+) is Z", before))) == set(pids)
    assert {int(pid): int(code) for pid, code in re.findall(r"(\d+): (\d)[,}]", statuses)} == pids
    assert after.endswith("my children, after: none")


def test_demo_the_last_close_ends_the_connection():
    lines = demo("connection")
    told = [re.search(r"127\.0\.0\.1:\d+ ([\w' ]+): .*count (\d), the client sees (.*)$", line) for line in lines]
    assert [row.groups() for row in told if row] == [
        ("before the fork", "1", "no end of file"),
        ("after the fork", "2", "no end of file"),
        ("after the server's close", "1", "no end of file"),
        ("before the child's close", "1", "no end of file"),
        ("after the child's close", "0", "end of file"),
    ]
    client = [line for line in lines if line.startswith("client")]
    assert "still an answer comes: b'are you there?\\n'" in client[0]
    assert client[1].endswith("b'', end of file")


def test_demo_a_failing_fork_in_words():
    lines = demo("failure")
    assert [line.partition(":")[0] for line in lines[::2]] == ["EAGAIN", "ENOMEM"]
    for name, line in (("EAGAIN", lines[1]), ("ENOMEM", lines[3])):
        assert line.startswith((f"  fork failed with {name} (", "  cannot be shown here"))
    if os.geteuid() == 0:
        assert "a limit on processes is reached" in lines[1], "root can become nobody, whom the limit binds"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--part", "spoon"], "invalid choice: 'spoon'"),
        (["--count", "0"], "--count is 0, but it must be between 1 and 1000"),
        (["--races", "many"], "invalid int value: 'many'"),
    ],
)
def test_demo_bad_option_is_one_line(options, line):
    done = run(DEMO, *options)
    assert done.returncode == 2
    assert (done.output, done.log.count("\n")) == ("", 1)
    assert line in done.log


# The server.


def test_server_echoes_lines_to_each_client_alone():
    with serve() as server, talk(server) as first, talk(server) as second:
        second.sendall(b"two\nlines\n")
        first.sendall(b"one\0line\xff\n")
        assert first.makefile("rb").readline() == b"one\0line\xff\n"
        lines = second.makefile("rb")
        assert [lines.readline(), lines.readline()] == [b"two\n", b"lines\n"]
        assert len(children(server)) == 2
        assert server.output == f"listening on 127.0.0.1:{server.port}\n"


def test_server_holds_only_what_is_its_own():
    with serve("--explain") as server, talk(server):
        wait_for_log(server, "after the server's close")
        (child,) = children(server)
        parents = {name for name in procfs.descriptors(server.pid).values() if name.startswith("socket:")}
        childs = {name for name in procfs.descriptors(child.pid).values() if name.startswith("socket:")}
        assert (len(parents), len(childs)) == (1, 1), "the parent the listener, the child the connection"
        assert not parents & childs
        assert not [name for name in procfs.descriptors(child.pid).values() if "pidfd" in name]


def test_server_client_sees_end_of_file_and_no_child_is_left():
    with serve() as server:
        for count in range(1, 4):
            with talk(server) as client:
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
            wait_for_log(server, "reaped, status 0", times=count)
        assert children(server) == []
        assert len(procfs.descriptors(server.pid)) == 4, "standard streams and the listener"


def test_server_reaps_five_children_that_end_at_once():
    with serve() as server:
        clients = [talk(server) for _ in range(5)]
        wait_for_log(server, "serves it", times=5)
        pids = [child.pid for child in children(server)]
        os.kill(server.pid, signal.SIGSTOP)
        wait_for_state(server.pid, "T")
        for client in clients:
            client.close()
        for pid in pids:
            wait_for_state(pid, "Z")
        os.kill(server.pid, signal.SIGCONT)
        wait_for_log(server, "reaped, status 0", times=5)
        assert children(server) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_ends_on_a_signal_and_takes_its_children_along(number):
    with serve() as server, talk(server) as client, talk(server):
        wait_for_log(server, "serves it", times=2)
        first, second = [child.pid for child in children(server)]
        os.kill(first, signal.SIGSTOP)
        server.signal(number)
        assert server.wait(timeout=5) == 0
        assert (procfs.stat(first), procfs.stat(second)) == (None, None)
        assert client.recv(1) == b""
        assert "Traceback" not in server.log
        assert f"{number.name}: ending 2 children" in server.log


def test_server_a_client_that_resets_disturbs_nobody():
    with serve() as server, talk(server) as other:
        rude = talk(server)
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        rude.close()
        wait_for_log(server, "reaped, status 1")
        other.sendall(b"still here\n")
        assert other.recv(100) == b"still here\n"
        assert "Traceback" not in server.log


def test_server_full_turns_a_newcomer_away_with_one_notice():
    with serve("--max-clients", "1") as server:
        with talk(server) as inside, server.connect() as newcomer:
            newcomer.sendall(b"let me in\n")
            assert newcomer.makefile("rb").read() == b"* this server is full (1 clients), try again later\n"
            inside.sendall(b"undisturbed\n")
            assert inside.recv(100) == b"undisturbed\n"
        wait_for_log(server, "reaped")
        talk(server).close()


@needs_strace
def test_server_a_failing_fork_costs_one_newcomer_only():
    with serve(trace="-e inject=clone,clone3,fork,vfork:error=EAGAIN:when=2") as server, talk(server) as first:
        with server.connect() as newcomer:
            words = b"* this server cannot start a process for you now, try again later\n"
            assert newcomer.makefile("rb").read() == words
        first.sendall(b"undisturbed\n")
        assert first.recv(100) == b"undisturbed\n"
        talk(server).close()
        server.wait_for(lambda: "fork: Resource temporarily unavailable" in server.log, "the failing fork in the log")


def test_server_killed_leaves_its_port_free():
    with serve() as server, talk(server):
        kill_for_good(server)
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        with launch(SERVER, "--port", str(server.port)) as second:
            talk(second).close()


@pytest.mark.parametrize(
    ("options", "status", "line"),
    [
        (["--port", "65536"], 2, "fork_server.py: --port is 65536, but a port is between 0 and 65535\n"),
        (["--port", "www"], 2, "fork_server.py: argument --port: invalid int value: 'www'\n"),
        (["--max-clients", "0"], 2, "fork_server.py: --max-clients is 0, but at least 1 is needed\n"),
        (
            ["--max-clients", "2000000000"],
            1,
            "fork_server: --max-clients 2000000000 needs more descriptors than this process may have\n",
        ),
        (["--host", "192.0.2.1"], 1, "fork_server: cannot listen on 192.0.2.1:9999: Cannot assign requested address\n"),
    ],
)
def test_server_bad_option_is_one_line(options, status, line):
    done = run(SERVER, *options)
    assert (done.returncode, done.output, done.log) == (status, "", line)


def test_server_port_in_use_is_one_line():
    with serve() as server:
        done = run(SERVER, "--port", str(server.port))
        line = f"fork_server: cannot listen on 127.0.0.1:{server.port}: Address already in use\n"
        assert (done.returncode, done.output, done.log) == (1, "", line)


# The pitfalls: each misbehaves in its own respect; the tests above show the reference right in the same one.


def test_pitfalls_are_listed_and_an_unknown_name_is_one_line():
    listed = run(PITFALLS)
    names = [line.split()[0] for line in listed.output.splitlines()]
    assert (listed.returncode, len(names)) == (0, 6)
    unknown = run(PITFALLS, "no-such-thing")
    assert (unknown.returncode, unknown.log.count("\n")) == (1, 1)
    assert all(name in unknown.log for name in names)


def test_pitfall_printed_twice():
    lines = pitfall("printed-twice")
    assert sum("I am alone" in line for line in lines) == 2
    assert sum("fork returned" in line for line in lines) == 2, "what comes after the fork is told once by each"


def test_pitfall_too_many_processes():
    lines = pitfall("too-many-processes")
    tellers = {line.split(":")[0] for line in lines if line.startswith("process")}
    assert len(tellers) == 8, "the parent and seven"
    assert sum("I leave" in line for line in lines) == 7


def test_pitfall_zombies_remain():
    lines = pitfall("zombies-remain")
    assert lines[-3].count("is Z") == 5
    assert lines[-1].count("is Z") == 4


def test_pitfall_child_hangs():
    lines = pitfall("child-hangs")
    child = next(line for line in lines if line.startswith("child")).split()[1].rstrip(":")
    parent = next(line for line in lines if line.startswith("parent")).split()[1].rstrip(":")
    assert f"process {child}: the lock is still held after a second" in lines
    assert f"process {parent}: the lock is free" in lines


def test_pitfall_no_end_of_file():
    with serve("--explain", program=(PITFALLS, "no-end-of-file")) as server, talk(server) as client:
        client.shutdown(socket.SHUT_WR)
        wait_for_log(server, "reaped, status 0")
        assert not readable(client)
        assert "after the child's close: server" in server.log
        assert server.log.count("count 1, the client sees no end of file") >= 2
    with serve() as server, talk(server) as client:
        client.shutdown(socket.SHUT_WR)
        wait_for_log(server, "reaped, status 0")
        assert client.recv(1) == b""


def test_pitfall_port_stays_taken():
    with serve(program=(PITFALLS, "port-stays-taken")) as server, talk(server):
        kill_for_good(server)
        server.connect().close()  # the kernel completes it, and nobody will ever accept it
        with pytest.raises(LaunchError, match="Address already in use"):
            launch(SERVER, "--port", str(server.port))


# standard output that is gone or full

DEMO_PARTS = ["fork", "order", "buffer", "zombies", "connection", "failure"]
TOLD = ["printed-twice", "too-many-processes", "zombies-remain", "child-hangs"]


@pytest.mark.parametrize(
    "program", [(DEMO,), (DEMO, "-h"), (PITFALLS,), *[(PITFALLS, name) for name in TOLD], (SERVER, "--port", "0")]
)
def test_output_that_is_full_is_one_line(program):
    assert output.onto_a_full_disk(*program) == (1, output.no_space(program[0]))


@pytest.mark.parametrize(
    "program", [(DEMO,), *[(DEMO, "--part", part) for part in DEMO_PARTS], *[(PITFALLS, name) for name in TOLD]]
)
def test_a_reader_that_has_gone_is_silence_and_nobody_is_left(program):
    assert output.to_a_reader_of(0, *program) == (1, "")


@pytest.mark.parametrize("program", [(PITFALLS,), (SERVER, "--port", "0")])
def test_a_list_and_a_server_whose_reader_has_gone(program):
    assert output.to_a_reader_of(0, *program) == (1, "")


@pytest.mark.parametrize("program", [DEMO, PITFALLS, SERVER])
def test_output_that_is_closed_is_one_line(program):
    assert output.closed(program) == (1, output.is_closed(program))

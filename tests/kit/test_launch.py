"""launch and run: readiness, output, and nothing left behind, over real programs."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from chatlab.launch import LaunchError, launch, run
from tests.kit.waiting import alive, until

SERVER = """
import os, signal, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("log line", file=sys.stderr, flush=True)
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        {in_child}
        while data := connection.recv(100):
            connection.sendall(data)
        os._exit(0)
    connection.close()
"""


@pytest.fixture
def program(tmp_path):
    """program(source) → path of a program."""

    def make(source: str, name: str = "program.py") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        return path

    return make


def pids_of(server) -> list[int]:
    return [process["pid"] for process in server.processes()["processes"]]


def test_a_server_is_ready_when_launch_returns(program):
    with launch(program(SERVER.format(in_child="pass"))) as server:
        assert server.address == ("127.0.0.1", server.port)
        with server.connect() as client:
            client.sendall(b"hello")
            assert client.recv(10) == b"hello"
        assert server.log == "log line\n"
        assert server.returncode is None


def test_the_end_of_the_block_ends_the_whole_tree(program):
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.setsid(); print('in', file=sys.stderr, flush=True)"
    with launch(program(SERVER.format(in_child=stubborn))) as server:
        client = server.connect()
        server.wait_for_text("in\n", where="log")
        pids = pids_of(server)
        assert len(pids) == 2
    client.close()
    assert not [pid for pid in pids if alive(pid)]
    assert server.returncode == -signal.SIGTERM


def test_a_daemon_ends_with_the_block(program):
    daemon = """
    import os, signal, time
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.write(write, b"x")
        time.sleep(1000)
    os.read(read, 1)
    print("made", flush=True)
    time.sleep(1000)
    """
    with launch(program(daemon), ready="made") as started:
        pids = pids_of(started)
        assert len(started.processes()["orphans"]) == 1
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_tree_ends_when_the_caller_dies(program, tmp_path, how):
    server = program(SERVER.format(in_child="pass"), "server.py")
    caller = program(
        f"""
        import sys, time
        from chatlab.launch import launch
        server = launch({str(server)!r})
        client = server.connect()
        client.sendall(b"x"); client.recv(1)
        print(*[process["pid"] for process in server.processes()["processes"]], flush=True)
        time.sleep(1000)
        """,
        "caller.py",
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, str(caller)], stdout=subprocess.PIPE, env=environment) as process:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        process.send_signal(how)
    until(lambda: not [pid for pid in pids if alive(pid)], "the server to end with its caller")


def test_run_gives_status_output_and_log(program):
    done = run(program("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"))
    assert (done.returncode, done.output, done.log) == (7, "out\n", "err\n")


def test_a_signal_is_a_negative_status(program):
    assert run(program("import os; os.kill(os.getpid(), 9)")).returncode == -9


def test_run_ends_what_the_program_left_behind(program):
    done = run(program("import os, time\npid = os.fork()\nif pid == 0: time.sleep(1000)\nprint(pid, flush=True)"))
    assert not alive(int(done.output))


def test_standard_input(program):
    echo = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    assert run(program(echo), stdin=b"abc").output == "ABC"
    assert run(program(echo)).output == ""
    with launch(program(echo), stdin="pipe", ready=False) as started:
        started.write(b"later")
        started.close_stdin()
        assert started.wait() == 0
    assert started.output == "LATER"


def test_python_buffers_as_it_would_with_output_to_a_file(program, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    source = "import os\nprint('twice')\nif os.fork(): os.wait()"
    assert run(program(source)).output == "twice\ntwice\n"


def test_a_program_finds_only_its_own_descriptors(program):
    listing = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:3], os.listdir('/proc/self/fd'))"
    assert run(program(listing)).output.startswith("[0, 1, 2] ")
    assert len(eval(run(program(listing)).output.split("] ", 1)[1])) == 4  # and the one that lists


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise SystemExit('port 9999 is in use')", "ended with status 1 before it was ready: port 9999 is in use"),
        ("print('hello', flush=True); import time; time.sleep(1000)", "waited 0.3 s for its readiness line"),
    ],
)
def test_what_does_not_become_ready_is_one_line(program, source, says):
    with pytest.raises(LaunchError) as caught:
        launch(program(source), timeout=0.3 if "waited" in says else 10)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_program_is_one_line():
    with pytest.raises(LaunchError, match="no such program"):
        launch("labs/no_such.py")


def test_a_program_that_cannot_be_executed_is_one_line(program):
    with pytest.raises(LaunchError, match="could not be started: .*Permission denied"):
        launch(program("", "no_program"), ready=False)


def test_a_broken_time_scale_is_one_line(program, monkeypatch):
    monkeypatch.setenv("CHATLAB_TIME_SCALE", "fast")
    with pytest.raises(LaunchError, match="set it to a number above 0"):
        run(program(""))


def test_a_restart_finds_its_port_free(program):
    source = SERVER.format(in_child="pass")
    with launch(program(source)) as server:
        port = server.port
    again = source.replace('("127.0.0.1", 0)', f'("127.0.0.1", {port})')
    with launch(program(again)) as server:
        assert server.port == port


def test_wait_says_that_it_still_runs(program):
    with (
        launch(program("import time; time.sleep(1000)"), ready=False) as started,
        pytest.raises(LaunchError, match="still runs"),
    ):
        started.wait(timeout=0.1)


def test_stop_is_quick_when_the_program_has_ended(program):
    started = launch(program(""), ready=False)
    started.wait()
    began = time.monotonic()
    started.stop()
    started.stop()
    assert time.monotonic() - began < 1.5


@pytest.mark.skipif(shutil.which("strace") is None and "CI" not in os.environ, reason="strace is not installed")
def test_a_trace_leaves_no_file_and_stays_readable(program, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    done = run(program("import os\nos.wait() if os.fork() else os._exit(3)"), trace=True)
    assert sorted(process.status for process in done.trace.processes) == [0, 3]
    assert not list((tmp_path / "temporary").iterdir())

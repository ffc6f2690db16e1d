"""Real programs under strace: who had which descriptor, from when to when; who sent what to whom."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from chatlab.trace import Trace, command

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None and not os.environ.get("CI"), reason="strace is not installed: see chatlab doctor"
)

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture
def traced(tmp_path):
    """A function that runs Python source under strace until both have ended, and returns its Trace."""

    def run(source: str, *, status: int = 0, extra: tuple[str, ...] = ()) -> Trace:
        program = tmp_path / "program.py"
        program.write_text("import os, socket, sys\n" + textwrap.dedent(source))
        ended_read, ended_write = os.pipe()
        prefix = command(tmp_path / "trace", extra=extra)
        assert prefix is not None, "strace is not installed"
        process = subprocess.Popen(
            [*prefix, sys.executable, "-I", "-S", str(program)],
            env=CLEAN,
            stdin=subprocess.DEVNULL,
            pass_fds=(ended_write,),
        )
        os.close(ended_write)
        assert process.wait(timeout=30) == status
        # strace is nobody's child here: its copy of the pipe closes when it has written its last line.
        with open(ended_read, "rb") as ended:
            assert ended.read() == b""
        return Trace.read(tmp_path / "trace")

    return run


def records(trace: Trace, kind: str) -> list[tuple]:
    """(pid, fd, name, how) of every descriptor of the kind."""
    return [(d.pid, d.fd, d.name, d.how) for d in trace.descriptors if d.kind == kind]


def span(trace: Trace, pid: int, fd: int, how: str):
    """The one descriptor of that process, number and origin, imports left out."""
    (found,) = [d for d in trace.quiet().descriptors if (d.pid, d.fd, d.how) == (pid, fd, how)]
    return found


def test_fork_copies_the_table_and_each_process_closes_its_own(traced):
    trace = traced("""
        a, b = socket.socketpair()
        if os.fork() == 0:
            a.close()
            b.send(b"hello")
            os._exit(7)
        b.close()
        a.recv(100)
        os.wait()
        os._exit(0)
    """)
    parent, child = trace.processes
    assert (parent.parent, parent.status, child.parent, child.status) == (None, 0, parent.pid, 7)
    assert records(trace, "socketpair") == [
        (parent.pid, 3, "socketpair a", "open"),
        (parent.pid, 4, "socketpair b", "open"),
        (child.pid, 3, "socketpair a", "fork"),
        (child.pid, 4, "socketpair b", "fork"),
    ]
    closes = {(call.pid, call.fd): call.time for call in trace.quiet().named("close")}
    assert span(trace, parent.pid, 4, "open").closed == closes[parent.pid, 4]
    assert span(trace, child.pid, 3, "fork").closed == closes[child.pid, 3]
    assert span(trace, child.pid, 4, "fork").opened == child.start
    assert span(trace, child.pid, 4, "fork").closed == child.end
    assert span(trace, parent.pid, 3, "open").closed == parent.end
    (message,) = trace.messages
    assert (message.source, message.target, message.size) == (child.pid, parent.pid, 5)
    assert (message.via, message.text, message.source_fd, message.target_fd) == ("socketpair", "hello", 4, 3)
    assert child.start < message.sent < message.received
    assert trace.reaped[child.pid] > child.end


def test_exec_closes_what_close_on_exec_marks(traced):
    trace = traced("""
        kept, marked = os.pipe()
        os.set_inheritable(kept, True)
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "pass"])
    """)
    (process,) = trace.processes
    executed = next(call.time + call.duration for call in trace.named("execve")[1:])
    assert records(trace, "pipe") == [
        (process.pid, 3, "pipe (read end)", "open"),
        (process.pid, 4, "pipe (write end)", "open"),
        (process.pid, 3, "pipe (read end)", "exec"),
    ]
    assert span(trace, process.pid, 3, "open").closed == pytest.approx(executed)
    assert span(trace, process.pid, 4, "open").closed == pytest.approx(executed)
    assert span(trace, process.pid, 3, "exec").opened == pytest.approx(executed)
    assert span(trace, process.pid, 3, "exec").closed == process.end
    assert process.command.endswith("-c pass")


def test_dup2_closes_its_target_and_dup2_to_itself_does_nothing(traced):
    trace = traced("""
        read_end, write_end = os.pipe()
        os.dup2(write_end, 9)
        os.dup2(read_end, 9)
        os.dup2(9, 9)
        os._exit(0)
    """)
    pid = trace.processes[0].pid
    ninth = [d for d in trace.descriptors if d.fd == 9]
    assert [(d.name, d.how) for d in ninth] == [("pipe (write end)", "dup"), ("pipe (read end)", "dup")]
    assert ninth[0].closed == ninth[1].opened
    assert ninth[1].closed == trace.processes[0].end
    assert [d.fd for d in trace.of(pid).descriptors if d.how == "dup"] == [9, 9]


def test_subprocess_makes_its_child_by_vfork_and_closes_in_it(traced):
    trace = traced("""
        import subprocess
        read_end, write_end = os.pipe()
        subprocess.run([sys.executable, "-I", "-S", "-c", "print('out')"], stdout=write_end)
        os.close(write_end)
        os.read(read_end, 100)
        os._exit(0)
    """)
    makers = [call for call in trace.calls if call.name == "vfork" or "CLONE_VFORK" in call.text]
    assert makers, "this Python makes the child in another way"
    parent, child = trace.processes
    assert child.parent == parent.pid
    started_with = sorted((d.fd, d.name) for d in trace.of(child.pid).descriptors if d.how == "exec")
    assert [fd for fd, _ in started_with] == [0, 1, 2]
    # Python 3.13 uses posix_spawn here, and makes no second pipe for the child's complaints.
    assert started_with[1][1] in ("pipe 1 (write end)", "pipe (write end)")
    (message,) = [m for m in trace.messages if m.text == "out\n"]
    assert (message.source, message.source_fd, message.target) == (child.pid, 1, parent.pid)


def test_a_pipeline_of_two_programs(traced):
    trace = traced("""
        read_end, write_end = os.pipe()
        def stage(source, here, there):
            if os.fork() == 0:
                os.dup2(here, there)
                os.close(read_end), os.close(write_end)
                os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", source])
        stage("import os; os.write(1, b'x' * 1000)", write_end, 1)
        stage("import os, sys; sys.exit(len(os.read(0, 600)) != 600)", read_end, 0)
        os.close(read_end), os.close(write_end)
        assert sorted(status for _, status in (os.wait(), os.wait())) == [0, 0]
    """)
    _, writer, reader = trace.processes
    assert [(d.fd, d.how) for d in trace.of(writer.pid).descriptors if d.name == "pipe (write end)"] == [
        (4, "fork"),
        (1, "dup"),
        (1, "exec"),
    ]
    read, lost = [m for m in trace.messages if m.source == writer.pid]
    assert (read.target, read.size, read.text) == (reader.pid, 600, "x" * 256)
    assert (lost.target, lost.size, lost.received) == (reader.pid, 400, None)


def test_a_descriptor_received_over_a_socket_is_the_same_open_file(traced):
    trace = traced("""
        a, b = socket.socketpair()
        if os.fork() == 0:
            a.close()
            read_end, write_end = os.pipe()
            socket.send_fds(b, [b"take this"], [write_end])
            os.close(write_end)
            assert os.read(read_end, 10) == b"thanks"
            os._exit(0)
        b.close()
        _, (received,), _, _ = socket.recv_fds(a, 100, 1)
        os.write(received, b"thanks")
        os.wait()
        os._exit(0)
    """)
    parent, child = trace.processes
    (received,) = [d for d in trace.descriptors if d.how == "received"]
    assert (received.pid, received.kind, received.name) == (parent.pid, "pipe", "pipe (write end)")
    (brought,) = [call for call in trace.named("recvmsg") if call.pid == parent.pid]
    assert received.opened == pytest.approx(brought.time + brought.duration)
    assert [(m.source, m.target, m.text) for m in trace.messages] == [
        (child.pid, parent.pid, "take this"),
        (parent.pid, child.pid, "thanks"),
    ]


def test_threads_share_one_table_and_one_process(traced):
    trace = traced("""
        import threading
        made = []
        thread = threading.Thread(target=lambda: made.append(os.open("/dev/null", os.O_RDONLY)))
        thread.start()
        thread.join()
        os.close(made[0])
        os._exit(0)
    """)
    (process,) = trace.processes
    (null,) = [d for d in trace.descriptors if d.name == "/dev/null" and d.how == "open"]
    assert null.pid == process.pid
    (close,) = [call for call in trace.named("close") if "/dev/null" in call.text]
    assert null.closed == close.time
    assert {call.pid for call in trace.calls} == {process.pid}


def test_names_of_both_ends_of_a_connection(traced):
    trace = traced("""
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        connection, _ = listener.accept()
        client.sendall("grüß dich\\n".encode())
        connection.recv(100)
        connection.sendall(b"back")
        client.recv(3), client.recv(3)
        os._exit(0)
    """)
    call = trace.named("accept4", "accept")[0]
    address = next(d.name for d in trace.descriptors if d.kind == "listener").removeprefix("listener ")
    assert address.startswith("127.0.0.1:")
    accepted = next(d for d in trace.descriptors if d.fd == call.result and d.kind == "tcp")
    near = accepted.name.rpartition(" :")[2]
    assert accepted.name == f"tcp {address} ← :{near}"
    assert (
        next(d.name for d in trace.descriptors if d.kind == "tcp" and d is not accepted) == f"tcp :{near} → {address}"
    )
    assert [(m.text, m.size) for m in trace.messages] == [("grüß dich\n", 12), ("bac", 3), ("k", 1)]
    assert trace.messages[1].sent == trace.messages[2].sent


def test_records_of_a_seqpacket_pair_go_one_to_one(traced):
    trace = traced("""
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        a.send(b"first"), a.send(b"second")
        b.recv(3), b.recv(100)
        os._exit(0)
    """)
    assert [(m.text, m.size) for m in trace.messages] == [("first", 5), ("second", 6)]
    assert all(m.received is not None for m in trace.messages)


def test_bytes_that_splice_moves_are_followed(traced):
    trace = traced("""
        if not hasattr(os, "splice"):
            os._exit(0)
        a, b = socket.socketpair()
        read_end, write_end = os.pipe()
        a.send(b"zero copy")
        os.splice(b.fileno(), write_end, 100)
        os.splice(read_end, b.fileno(), 100)
        assert a.recv(100) == b"zero copy"
        os._exit(0)
    """)
    assert [(m.via, m.size, m.text) for m in trace.messages] == [
        ("socketpair", 9, "zero copy"),
        ("pipe", 9, "zero copy"),
        ("socketpair", 9, "zero copy"),
    ]


def test_a_process_killed_by_a_signal(traced):
    trace = traced("""
        import signal
        ready_read, ready_write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(ready_write, b"!")
            signal.pause()
        os.read(ready_read, 1)
        while open(f"/proc/{child}/stat").read().split()[2] != "S":
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os._exit(0)
    """)
    parent, child = trace.processes
    assert (child.status, child.signal) == (None, "SIGKILL")
    assert [(s.pid, s.name, s.sender, s.status) for s in trace.signals] == [
        (child.pid, "SIGKILL", parent.pid, None),
        (parent.pid, "SIGCHLD", child.pid, -9),
    ]
    assert span(trace, child.pid, 3, "fork").closed == child.end
    (pause,) = trace.named("pause")
    assert pause.result is None
    assert pause.time + pause.duration == pytest.approx(child.end)


def test_a_stop_on_the_way_does_not_count_as_reaping(traced):
    trace = traced("""
        import signal
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        os.waitpid(child, os.WUNTRACED)
        os.kill(child, signal.SIGCONT)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        os.waitid(os.P_PID, child, os.WEXITED)
        os._exit(0)
    """)
    last = trace.named("waitid")[-1]
    assert trace.reaped == {trace.processes[1].pid: pytest.approx(last.time + last.duration)}


def test_a_descriptor_from_before_that_only_a_grandchild_uses(traced):
    trace = traced("""
        if os.fork() == 0:
            if os.fork() == 0:
                os.write(2, b"")
                os._exit(0)
            os.wait()
            os._exit(0)
        os.wait()
        os._exit(0)
    """)
    hows = [d.how for d in trace.descriptors if d.fd == 2]
    assert hows == ["at-start", "fork", "fork"]
    assert [d.pid for d in trace.descriptors if d.fd == 2] == [process.pid for process in trace.processes]


def test_a_running_program_can_be_read(tmp_path):
    """The file is read while the program waits: what it has open has no end yet."""
    said_read, said_write = os.pipe()
    prefix = command(tmp_path / "trace")
    assert prefix is not None, "strace is not installed"
    source = f"import os; os.write({said_write}, b'!'); os.read(0, 1)"
    process = subprocess.Popen(
        [*prefix, sys.executable, "-I", "-S", "-c", source],
        env=CLEAN,
        stdin=subprocess.PIPE,
        pass_fds=(said_write,),
    )
    os.close(said_write)
    try:
        # Python looks at its standard streams before it runs a program: those lines are in the file by now.
        assert os.read(said_read, 1) == b"!"
        trace = Trace.read(tmp_path / "trace")
        (running,) = trace.processes
        assert running.end is None
        assert [d.closed for d in trace.descriptors if d.fd == 0] == [None]
    finally:
        process.stdin.close()
        assert process.wait(timeout=30) == 0
        os.close(said_read)


def test_injected_failure_is_seen_as_the_program_saw_it(traced):
    trace = traced(
        """
        try:
            os.fork()
        except BlockingIOError:
            os._exit(5)
        """,
        status=5,
        extra=("-e", "inject=clone,fork,vfork,clone3:error=EAGAIN"),
    )
    (call,) = trace.named("clone", "fork", "clone3")
    assert (call.result, call.error) == (-1, "EAGAIN")
    assert len(trace.processes) == 1


def test_bytes_read_of_a_write_that_never_returned(traced):
    """A writer waits for room when the pipe is full. What was read until it is killed came from it all the same."""
    trace = traced("""
        import signal
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write_end, b"z" * 200_000)
            os._exit(1)
        os.read(read_end, 70_000)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os._exit(0)
    """)
    (read,) = trace.named("read")[-1:]
    parent, child = trace.processes
    assert [(m.source, m.target, m.size) for m in trace.messages] == [(child.pid, parent.pid, read.result)]

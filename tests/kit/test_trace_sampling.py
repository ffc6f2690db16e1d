"""The fallback without strace: the same records from /proc, said to be sampled."""

import os
import subprocess
import sys
import time

import pytest

from chatlab.trace import Sampler

SOURCE = """
import os, select, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
connection, _ = listener.accept()
a, b = socket.socketpair()
read_end, write_end = os.pipe()
poller = select.epoll()
copy = os.dup(write_end)
print("ready", listener.getsockname()[1], flush=True)
sys.stdin.readline()
if os.fork() == 0:
    connection.close()
    print("child", flush=True)
    sys.stdin.readline()
    os._exit(0)
os.wait()
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def program():
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-u", "-c", SOURCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        yield process
        process.kill()


def until(sampler: Sampler, condition) -> None:
    """Wait until the condition holds of a trace; the sampler looks again every few milliseconds."""
    deadline = time.monotonic() + 20
    while not condition(sampler.trace()):
        assert time.monotonic() < deadline, sampler.trace()
        time.sleep(0.005)


def test_a_sampled_trace_has_the_same_names(program):
    sampler = Sampler(program.pid)
    try:
        word, port = program.stdout.readline().split()
        assert word == b"ready"
        address = f"127.0.0.1:{int(port)}"
        until(sampler, lambda trace: {"→", "←"} <= {mark for d in trace.descriptors for mark in d.name})
        until(sampler, lambda trace: any(d.fd == 11 for d in trace.descriptors))
        trace = sampler.trace()
        assert not trace.exact
        assert trace.note == "sampled every 5 ms from /proc: what lived shorter is missing"
        assert (trace.calls, trace.messages, trace.signals) == ([], [], [])
        by_fd = {d.fd: d for d in trace.descriptors if d.closed is None}
        near = by_fd[4].name.removeprefix("tcp ").partition(" → ")[0]
        numbered = [(by_fd[fd].kind, by_fd[fd].name) for fd in range(3, 11)]
        assert numbered[:5] == [
            ("listener", f"listener {address}"),
            ("tcp", f"tcp {near} → {address}"),
            ("tcp", f"tcp {address} ← {near}"),
            ("socketpair", "socketpair"),
            ("socketpair", "socketpair"),
        ]
        number = numbered[5][1].removeprefix("pipe ").removesuffix(" (read end)")
        assert numbered[5:] == [
            ("pipe", f"pipe {number} (read end)"),
            ("pipe", f"pipe {number} (write end)"),
            ("epoll", "epoll"),
        ]
        assert by_fd[11].name == f"pipe {number} (write end)"
        assert {d.how for d in trace.descriptors if d.fd in (0, 1)} == {"at-start"}
    finally:
        sampler.stop()


def test_a_sampled_child_begins_and_ends(program):
    sampler = Sampler(program.pid)
    try:
        assert program.stdout.readline().startswith(b"ready")
        until(sampler, lambda trace: any(d.fd == 11 for d in trace.descriptors))
        program.stdin.write(b"\n")
        assert program.stdout.readline() == b"child\n"
        until(sampler, lambda trace: len(trace.processes) == 2)
        program.stdin.write(b"\n")
        assert program.stdout.readline() == b"done\n"
        until(sampler, lambda trace: trace.processes[1].end is not None)
        parent, child = sampler.trace().processes
        assert (parent.pid, parent.parent, parent.end) == (program.pid, None, None)
        assert child.parent == parent.pid
        own = [d for d in sampler.trace().descriptors if d.pid == child.pid]
        assert {d.fd: d.how for d in own}[3] == "fork"
        # A look may fall between the closing of a dying process's descriptors and its end.
        assert all(child.start <= d.closed <= child.end for d in own)
        assert child.start < child.end
    finally:
        sampler.stop()


def test_a_process_that_is_gone_gives_an_empty_trace():
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], os.environ)
    os.waitpid(child, 0)
    sampler = Sampler(child)
    sampler.stop()
    assert (sampler.trace().processes, sampler.trace().descriptors) == ([], [])

"""A Trace's own operations: cuts, selections, arrays."""

import math
import subprocess
import sys

import numpy
import pytest

from chatlab.trace import Call, Descriptor, Message, Process, Signal, Trace


def call(time, pid, name, fd=None, duration=0.1, args=(), text=""):
    return Call(time, duration, pid, name, args, 0, None, fd, text or f"{name}()")


@pytest.fixture
def trace():
    return Trace(
        calls=[call(0.0, 1, "execve"), call(1.0, 1, "fork"), call(2.0, 2, "write", 4), call(3.0, 1, "read", 250)],
        processes=[Process(1, None, 0.0, None, None, None, "a"), Process(2, 1, 1.0, 2.5, 0, None, "a")],
        descriptors=[
            Descriptor(1, 3, "pipe", "pipe (read end)", 0.5, 3.0, "open"),
            Descriptor(1, 250, "unix", "unix", 0.0, None, "at-start"),
            Descriptor(2, 4, "pipe", "pipe (write end)", 1.0, 2.5, "fork"),
        ],
        signals=[Signal(2.6, 1, "SIGCHLD", 2, 0)],
        messages=[
            Message(2.0, 3.0, 2, 1, 5, "pipe", "hello", 4, 3),
            Message(3.0, None, 1, None, 2, "unix", "ok", 250, None),
        ],
        end=4.0,
    )


def test_named(trace):
    assert [c.name for c in trace.named("write", "read")] == ["write", "read"]


def test_of_one_process(trace):
    child = trace.of(2)
    assert [c.name for c in child.calls] == ["write"]
    assert [p.pid for p in child.processes] == [2]
    assert [d.fd for d in child.descriptors] == [4]
    assert child.signals == []
    assert [m.text for m in child.messages] == ["hello"]


def test_between_keeps_what_touches_the_time_uncut(trace):
    cut = trace.between(2.55, 2.9)
    assert cut.calls == []
    assert [p.pid for p in cut.processes] == [1]
    assert [(d.pid, d.fd, d.opened) for d in cut.descriptors] == [(1, 3, 0.5), (1, 250, 0.0)]
    assert [s.name for s in cut.signals] == ["SIGCHLD"]
    assert [m.text for m in cut.messages] == ["hello"]
    assert (cut.begin, cut.end) == (2.55, 2.9)


def test_without_a_descriptor_number(trace):
    left = trace.without(fds=(250,))
    assert [c.fd for c in left.calls] == [None, None, 4]
    assert [d.fd for d in left.descriptors] == [3, 4]
    assert [m.text for m in left.messages] == ["hello"]
    assert left.processes == trace.processes


def test_without_a_process(trace):
    left = trace.without(pids=[2])
    assert {p.pid for p in left.processes} == {1}
    assert [m.text for m in left.messages] == ["ok"]


def test_reaped_counts_only_waits_that_take_a_zombie_away():
    def wait(time, name, args, result, text=""):
        return Call(time, 0.5, 1, name, args, result, None, None, text)

    siginfo = "waitid(P_ALL, 0, {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=%d, si_uid=0}, %s, NULL) = 0"
    trace = Trace(
        calls=[
            wait(1.0, "wait4", ("-1", "NULL", "WNOHANG", "NULL"), 0),
            wait(2.0, "wait4", ("2",), 2, "wait4(2, [{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}], WUNTRACED, NULL) = 2"),
            wait(3.0, "wait4", ("2",), 2, "wait4(2, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 2"),
            wait(4.0, "waitid", ("P_ALL",), 0, siginfo % (3, "WEXITED|WNOWAIT")),
            wait(5.0, "waitid", ("P_ALL",), 0, siginfo % (3, "WEXITED")),
        ]
    )
    assert trace.reaped == {2: 3.5, 3: 5.5}


def test_arrays(trace):
    table = trace.array("descriptors")
    assert table.dtype.names == ("pid", "fd", "kind", "name", "opened", "closed", "how")
    assert table["fd"].tolist() == [3, 250, 4]
    assert math.isnan(table["closed"][1])
    assert table["name"][2] == "pipe (write end)"
    assert (table["closed"] - table["opened"])[0] == 2.5
    messages = trace.array("messages")
    assert messages["target"].tolist() == [1, -1]
    assert numpy.isnan(messages["received"]).tolist() == [False, True]
    assert trace.array("processes")["status"].tolist() == [-1, 0]


@pytest.mark.parametrize("records", ["calls", "processes", "descriptors", "signals", "messages"])
def test_an_empty_trace_has_empty_arrays(records):
    assert len(Trace().array(records)) == 0


def test_an_array_of_nothing_known(trace):
    with pytest.raises(ValueError, match="no records named 'packets': a trace has calls"):
        trace.array("packets")


def test_quiet_leaves_out_imports_and_keeps_what_the_program_opens():
    files = ["/usr/lib/python3/os.py", "/x/lib/python3.11/lib-dynload/_socket.so", "/etc/ld.so.cache", "/home/me"]
    kept = ["notes.txt", "/etc/hosts"]
    started = '"/home/me/a.py"'
    trace = Trace(
        calls=[
            call(
                0.0, 1, "execve", text='execve("/usr/bin/python3", ["python3", "/home/me/a.py"], 0x7 /* 1 var */) = 0'
            ),
            call(0.1, 1, "rt_sigaction"),
            call(0.2, 1, "openat", 3, args=("AT_FDCWD", '"/usr/lib/python3/os.py"'), text="openat()"),
            call(0.3, 1, "openat", 3, args=("AT_FDCWD", started), text="openat()"),
            call(0.4, 1, "read", 3, text='read(3</home/me/a.py>, "", 1) = 0'),
            call(0.5, 1, "openat", 3, args=("AT_FDCWD", '"notes.txt"'), text="openat()"),
            call(0.6, 1, "read", 3, text='read(3</home/me/notes.txt>, "", 1) = 0'),
        ],
        descriptors=[Descriptor(1, 3, "file", f"file {name}", 0.1, 0.2, "open") for name in files + kept]
        + [
            Descriptor(1, 3, "epoll", "epoll", 0.25, 0.26, "open"),
            Descriptor(1, 4, "epoll", "epoll", 0.5, None, "open"),
        ],
    )
    quiet = trace.quiet()
    assert [c.time for c in quiet.calls] == [0.5, 0.6]
    assert [d.name for d in quiet.descriptors] == ["file notes.txt", "file /etc/hosts", "epoll"]


def test_import_is_light():
    """The judge's processes read traces too, and must start in milliseconds."""
    source = (
        "import sys, chatlab.trace; print([m for m in sys.modules if m.partition('.')[0] in ('numpy', 'matplotlib')])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        Trace.read(tmp_path / "none")

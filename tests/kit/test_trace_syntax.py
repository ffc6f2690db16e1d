"""strace's text, line by line: what each form of line becomes. The lines are recorded ones."""

import pytest

from chatlab.trace import strace, syntax
from chatlab.trace.descriptors import OpenFile, Pairs
from chatlab.trace.replay import replay


def read(*lines: str):
    """The steps of these lines; each gets pid 5, unless it begins with another and a blank."""
    text = [line if line[0].isdigit() else f"5     1795436331.000000000 {line}" for line in lines]
    return syntax.read_steps([f"{line}\n" for line in text]).steps


def call(line: str) -> syntax.SystemCall:
    """The one call of a line."""
    return read(line)[-1].call


def test_a_whole_call():
    ends = "TCP:[127.0.0.1:33714->127.0.0.1:36251]"
    steps = read(f'sendto(7<{ends}>, "a, (b\\n", 6, 0, NULL, 0) = 6 <0.000066208>')
    assert [step.what for step in steps] == ["enter", "leave"]
    sent = steps[1].call
    assert (sent.tid, sent.time, sent.name, sent.result, sent.error, sent.seconds) == (
        5,
        0.0,
        "sendto",
        6,
        None,
        6.6208e-05,
    )
    assert sent.args[1:] == ('"a, (b\\n"', "6", "0", "NULL", "0")
    assert syntax.descriptor(sent.args[0]) == (7, ends)
    assert steps[1].time == pytest.approx(6.6208e-05)
    assert sent.text.endswith("= 6")


@pytest.mark.parametrize(
    ("line", "result", "error", "note"),
    [
        ("read(9<pipe:[7]>, 0x7ffe, 1) = -1 EAGAIN (Resource temporarily unavailable) <0.1>", -1, "EAGAIN", ""),
        ("clone(child_stack=NULL) = -1 EAGAIN (Resource temporarily unavailable) (INJECTED) <0.1>", -1, "EAGAIN", ""),
        ("accept4(3<TCP:[127.0.0.1:1]>, 0x7ff, [16], 0) = ? ERESTARTSYS (To be restarted if SA_RESTART is set) <0.1>",
         None, "ERESTARTSYS", ""),
        ("exit_group(3)     = ?", None, None, ""),
        ("fcntl(3<pipe:[7]>, F_GETFD) = 0x1 (flags FD_CLOEXEC) <0.1>", 1, None, ""),
        ("poll([{fd=8<pipe:[7]>, events=POLLIN}], 1, 10) = 1 ([{fd=8, revents=POLLIN}]) <0.1>", 1, None, ""),
        ("poll([{fd=8<pipe:[7]>, events=POLLIN}], 1, 10) = 0 (Timeout) <0.1>", 0, None, ""),
        ('openat(AT_FDCWD</tmp>, "/dev/null", O_RDONLY) = 3</dev/null<char 1:3>> <0.1>', 3, None,
         "/dev/null<char 1:3>"),
        ('memfd_create("x", MFD_CLOEXEC) = 24</memfd:x>(deleted) <0.1>', 24, None, "/memfd:x"),
        ("socket(AF_INET6, SOCK_STREAM, 0) = 9<TCPv6:[[::1]:39065->[::1]:4]> <0.1>", 9, None,
         "TCPv6:[[::1]:39065->[::1]:4]"),
    ],
)  # fmt: skip
def test_results(line, result, error, note):
    made = call(line)
    assert (made.result, made.error, made.note) == (result, error, note)


def test_an_unfinished_call_is_joined_with_its_rest():
    steps = read(
        "5  1795436331.000000100 read(4<pipe:[7]>,  <unfinished ...>",
        "6  1795436331.000000200 close(3<pipe:[7]>) = 0 <0.000000050>",
        '5  1795436331.000000300 <... read resumed>"hi", 100) = 2 <0.000000150>',
    )
    assert [(step.what, step.tid) for step in steps] == [("enter", 5), ("enter", 6), ("leave", 6), ("leave", 5)]
    joined = steps[3].call
    assert joined is steps[0].call
    assert joined.args == ("4<pipe:[7]>", '"hi"', "100")
    assert (joined.result, joined.time, joined.seconds) == (2, 0.0, 2e-07)


def test_an_older_resumed_form_and_arguments_cut_in_the_middle():
    steps = read(
        "5  1795436331.0 clone3({flags=CLONE_VM|CLONE_THREAD} <unfinished ...>",
        "5  1795436331.1 <... clone3 resumed> => {parent_tid=[6]}, 88) = 6 <0.1>",
    )
    assert steps[1].call.result == 6
    assert steps[1].call.flag("CLONE_THREAD")
    assert len(steps[1].call.args) == 2


def test_a_call_that_its_process_did_not_survive():
    steps = read("pause( <unfinished ...>) = ?", "+++ killed by SIGKILL +++")
    assert [(step.what, step.signal) for step in steps] == [("enter", None), ("exit", "SIGKILL")]


def test_signals_and_ends():
    steps = read(
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=9, si_uid=0, si_status=3, si_utime=0} ---",
        "--- stopped by SIGSTOP ---",
        "+++ killed by SIGSEGV (core dumped) +++",
        "+++ exited with 3 +++",
    )
    assert [(step.what, step.signal, step.status) for step in steps] == [
        ("signal", "SIGCHLD", None),
        ("exit", "SIGSEGV", None),
        ("exit", None, 3),
    ]


def test_exec_in_a_thread_takes_over_the_process_id():
    trace = replay(
        syntax.read_steps(
            f"{line}\n"
            for line in (
                '5  1.0 execve("/bin/a", ["a"], 0x7 /* 1 var */) = 0 <0.1>',
                "5  1.2 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD} => {parent_tid=[6]}, 88) = 6 <0.01>",
                '6  1.3 execve("/bin/b", ["b"], 0x7 /* 1 var */ <unfinished ...>',
                "5  1.4 +++ superseded by execve in pid 6 +++",
                "5  1.5 <... execve resumed>) = 0 <0.2>",
                "5  1.6 exit_group(0) = ?",
                "5  1.7 +++ exited with 0 +++",
            )
        )
    )
    (process,) = trace.processes
    assert (process.pid, process.command, process.status) == (5, "b", 0)


def test_a_cut_last_line_and_nonsense_are_left_out():
    lines = ["strace: Process 7 attached\n", "5  1.0 close(3<pipe:[7]>) = 0 <0.1>\n", "5  1.1 close(4<pi"]
    assert [step.what for step in syntax.read_steps(lines).steps] == ["enter", "leave"]


def test_a_last_line_without_its_end_is_the_call_that_the_program_is_in():
    lines = ["5  1.0 close(3<pipe:[7]>) = 0 <0.1>\n", "5  1.1 recvfrom(4<UNIX-STREAM:[1->2]>, "]
    last = syntax.read_steps(lines).steps[-1]
    assert (last.what, last.call.name, last.call.args) == ("enter", "recvfrom", ("4<UNIX-STREAM:[1->2]>",))
    trace = replay(syntax.read_steps(lines))
    assert (trace.calls[-1].fd, trace.calls[-1].result) == (4, None)
    for cut in ('5  1.1 <... read resumed>"a', "5  1.1 +++ exited wi", "5  1.1", "5  1.", "--- SIG"):
        assert len(syntax.read_steps([lines[0], cut]).steps) == 2


def test_no_lines_make_an_empty_trace():
    trace = replay(syntax.read_steps([]))
    assert (trace.calls, trace.processes, trace.descriptors, trace.end) == ([], [], [], 0.0)


def test_times_keep_their_nanoseconds():
    steps = read("5 1795436331.999999999 pause( <unfinished ...>", "5 1795436332.000000001 +++ exited with 0 +++")
    assert steps[1].time == 2e-9


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (r"hi\n\t\0\"\\", b'hi\n\t\0"\\'),
        (r"\344\270\255", "中".encode()),
        (r"\xe4\xb8\xad", "中".encode()),
        (r"\0001", b"\x001"),
        ("", b""),
    ],
)
def test_strings_are_bytes_again(text, data):
    assert syntax.unquote(text) == data


@pytest.mark.parametrize(
    ("note", "role", "kind", "name"),
    [
        ("TCP:[127.0.0.1:9999->127.0.0.1:51234]", "accepted", "tcp", "tcp 127.0.0.1:9999 ← :51234"),
        ("TCP:[127.0.0.1:51234->127.0.0.1:9999]", "connecting", "tcp", "tcp :51234 → 127.0.0.1:9999"),
        ("TCP:[10.0.0.1:9999->10.0.0.2:51234]", "accepted", "tcp", "tcp 10.0.0.1:9999 ← 10.0.0.2:51234"),
        ("TCPv6:[[::ffff:127.0.0.1]:9->[::ffff:127.0.0.1]:5]", "accepted", "tcp", "tcp 127.0.0.1:9 ← :5"),
        ("TCPv6:[[::1]:9->[::1]:5]", "", "tcp", "tcp [::1]:9 ↔ :5"),
        ("TCP:[8634]", "", "tcp", "tcp"),
        ("UDP:[127.0.0.1:53]", "", "udp", "udp 127.0.0.1:53"),
        ('UNIX-STREAM:[8644->8643,@"abs"]', "accepted", "unix", "unix @abs ←"),
        ("pipe:[7]", "", "pipe", "pipe"),
        ("anon_inode:[eventpoll]", "", "epoll", "epoll"),
        ("anon_inode:[eventfd]", "", "eventfd", "eventfd"),
        ("signalfd:[INT TERM]", "", "signalfd", "signalfd"),
        ("pid:71", "", "pidfd", "pidfd of 71"),
        ("/memfd:x", "", "memory", "memory x"),
        ("/dev/shm/chat", "", "memory", "/dev/shm/chat"),
        ("/dev/null<char 1:3>", "", "file", "/dev/null"),
        ("/dev/pts/0<char 136:0>", "", "tty", "tty"),
        ("/home/me/lab/notes.txt", "", "file", "file notes.txt"),
        ("/etc/hosts", "", "file", "file /etc/hosts"),
    ],
)
def test_names(note, role, kind, name):
    file = OpenFile(role=role)
    file.learn(note)
    assert (file.kind, file.name(Pairs(), "/home/me/lab")) == (kind, name)


def test_a_name_survives_the_end_of_its_connection():
    file = OpenFile(role="accepted")
    file.learn("TCP:[127.0.0.1:9->127.0.0.1:5]")
    file.learn("TCP:[8634]")
    assert file.name(Pairs(), "") == "tcp 127.0.0.1:9 ← :5"


def test_a_number_that_another_thread_gets_while_close_is_under_way():
    trace = replay(
        syntax.read_steps(
            f"{line}\n"
            for line in (
                '5  1.0 execve("/bin/a", ["a"], 0x7 /* 1 var */) = 0 <0.001>',
                "5  1.1 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD} => {parent_tid=[6]}, 88) = 6 <0.001>",
                "5  1.2 epoll_create1(0) = 3<anon_inode:[eventpoll]> <0.001>",
                "5  1.3 close(3<anon_inode:[eventpoll]> <unfinished ...>",
                "6  1.31 eventfd2(0, 0) = 3<anon_inode:[eventfd]> <0.001>",
                "5  1.4 <... close resumed>) = 0 <0.1>",
            )
        )
    )
    assert [(d.name, d.closed) for d in trace.descriptors] == [("epoll", pytest.approx(0.3)), ("eventfd", None)]


def test_the_command_without_strace(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert strace.command(tmp_path / "out") is None


def test_the_command_with_an_old_strace(monkeypatch, tmp_path):
    """An strace that knows no --seccomp-bpf and no long options is not given any."""
    old = tmp_path / "strace"
    old.write_text("#!/bin/sh\necho 'usage: strace [-CdffhiqrtttTvVwxxy] ...'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    prefix = strace.command(tmp_path / "out", extra=("-e", "inject=clone:error=EAGAIN"))
    assert prefix[0] == str(old)
    assert [option for option in prefix if option.startswith("--")] == ["--"]
    assert prefix[-7:] == ["-ttt", "-T", "-e", "inject=clone:error=EAGAIN", "-o", str(tmp_path / "out"), "--"]

"""The judge, over small courses made for it: every verdict, and nothing left running."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatlab.course import CourseError
from chatlab.judge import contain, run, verdicts
from tests.kit import mini_course
from tests.kit.waiting import alive, until

RETURNS = '''
def test_returns(student):
    """It returns its argument."""
    number = student.random.randrange(10**9)
    call = student.call("work", number)
    student.should(call.value == number, should=f"return {number}",
                   but=f"it returned {call.value!r}", mistake="hard-coded")
    student.should(not call.audit.processes.keys() - {call.audit.student}, should="leave no process behind",
                   but=lambda: call.audit.describe(), mistake="children left", read="Zombies")
    student.should(not call.audit.opened, should="leave no descriptor open", but=f"{call.audit.opened}", mistake="leak")
    student.should(not call.audit.segments, should="leave no segment", but=f"{call.audit.segments}", mistake="segment")
    student.should(not call.audit.changed_handlers, should="leave signals alone",
                   but=f"{sorted(call.audit.changed_handlers)}", mistake="handler")
    student.should(not call.unclosed, should="close what it opens", but=f"{call.unclosed}", mistake="unclosed")
'''


@pytest.fixture(params=["bubblewrap", "subreaper"])
def tier(request, monkeypatch):
    """Both containments; the first only where bubblewrap works, which CI demands."""
    if request.param == contain.SUBREAPER:
        monkeypatch.setenv("CHATLAB_SANDBOX", contain.SUBREAPER)
    elif contain.tier() != contain.BUBBLEWRAP:
        assert "CI" not in os.environ, "CI has bubblewrap"
        pytest.skip("bubblewrap is not installed, or does not work here")
    return request.param


@pytest.fixture
def judged(tmp_path):
    """judged(code, checks) → the Verdict of exercise 1.1 of a course made of them."""

    def judge(code: str, checks: str = RETURNS, **options):
        mini_course.make(tmp_path, checks, code=code, **options)
        return run("labs", ["1.1"], root=tmp_path)[0]

    return judge


def test_a_right_answer_gets_all_points(judged, tier):
    verdict = judged("def work(n): return n")
    assert (verdict.verdict, verdict.points, verdict.feedback) == ("passed", 4, "")
    assert verdict.line == "1.1 first  4/4"


def test_a_stub_is_not_started(judged):
    verdict = judged(mini_course.STUBS)
    assert verdict.line == "1.1 first  0/4  not started"
    assert verdict.feedback == "exercise 1.1 is not started"


# Each: code of work(n), the verdict, and what the feedback must say.
MISTAKES = {
    "hard-coded": ("return 7", "failed", "likely mistake: hard-coded"),
    "zombie": (
        "pid = os.fork() or os._exit(0)\n    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)\n    return n",
        "failed",
        "is a zombie",
    ),
    "ran on": ("os.fork()\n    return n", "failed", "a child that runs on into its caller's code"),
    "ran on by exception": (
        "if os.fork() == 0: raise ValueError('lost')\n    os.wait()\n    return n",
        "failed",
        "it was left by ValueError: lost at line 4",
    ),
    "child leaves by sys.exit": (
        "if os.fork() == 0: sys.exit(3)\n    os.wait()\n    return n",
        "failed",
        "a child that leaves its function by an exception",
    ),
    "last words": (
        "print('what I saw', file=sys.stderr)\n    return 7",
        "failed",
        "said    what I saw",
    ),
    "orphan": (
        "read, write = os.pipe()\n    pid = os.fork()\n    if pid == 0:\n        os.close(read)\n        os.setsid()\n"
        "        if os.fork() == 0: time.sleep(1000)\n        os._exit(0)\n    os.close(read), os.close(write)\n"
        "    os.waitpid(pid, 0)\n    return n",
        "failed",
        "likely mistake: children left",
    ),
    "descriptor": ("os.dup(1)\n    return n", "failed", "likely mistake: leak"),
    "segment": ("open('/dev/shm/chatlab-test-segment', 'w').close()\n    return n", "failed", "chatlab-test-segment"),
    "handler": ("signal.signal(signal.SIGUSR1, lambda *_: None)\n    return n", "failed", "['SIGUSR1']"),
    "unclosed": ("socket.socketpair()\n    return n", "failed", "unclosed <socket.socket"),
    "exception": ("return n / 0", "failed", "it raised ZeroDivisionError: division by zero at line 4 of exercises.py"),
    "endless loop": ("while True: pass", "out of time", "an endless loop: it never waits for anything"),
    "hangs in a read": ("a, b = socket.socketpair()\n    return a.recv(1)", "out of time", "waits in recvfrom()"),
    "200 stubborn children": (
        "for i in range(200):\n        if os.fork() == 0:\n            signal.signal(15, signal.SIG_IGN)\n"
        "            os.setsid()\n            time.sleep(1000)\n    return n",
        "failed",
        "more",
    ),
    "closes everything": ("os.closerange(0, 1024)\n    return n", "crashed", "every descriptor closed"),
    "kills its parent": ("os.kill(os.getppid(), 9)\n    return n", "crashed", "a signal sent to os.getppid()"),
    "terminates its parent": ("os.kill(os.getppid(), 15)\n    return n", "crashed", "a signal sent to os.getppid()"),
    "stops its parent": ("os.kill(os.getppid(), 19)\n    return n", "crashed", "a signal sent to os.getppid()"),
    "kills itself": ("os.kill(os.getpid(), 9)", "crashed", "its process ended instead: ended by SIGKILL"),
    "kills its group": ("os.killpg(0, 9)", "crashed", "or to the whole process group"),
    "leaves": ("os._exit(0)", "crashed", "its process ended instead: exit status 0"),
    "sys.exit": ("sys.exit(0)", "failed", "it raised SystemExit: 0"),
    "writes nonsense to the channel": (
        "os.write(250, b'{}' * 9)\n    return n",
        "tampered",
        "something else came over it",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_its_verdict_and_its_words(judged, tier, name):
    body, verdict, says = MISTAKES[name]
    if name == "segment" and tier == contain.SUBREAPER:
        pytest.skip("without bubblewrap /dev/shm is the machine's own")
    code = f"import os, signal, socket, sys, time\n\ndef work(n):\n    {body}\n"
    found = judged(code, deadline=1.5 if verdict == "out of time" else 5)
    assert (found.verdict, found.points) == (verdict, 0), found.feedback
    assert says in found.feedback
    assert "Traceback" not in found.feedback


def test_nothing_is_left_running(judged, tier, tmp_path):
    """Every way to escape at once: new sessions, double forks, ignored signals. Only the judge's word is not needed."""
    mark = f"chatlab-escape-{os.getpid()}-{tier}"
    judged(
        f"""
import os, signal, sys

def work(n):
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
                os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(1000)", {mark!r}])
            os._exit(0)
    return n
"""
    )
    found = [pid for pid in _pids() if mark.encode() in _command_line(pid) and alive(pid)]
    assert not found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_fork_bomb_is_ended(judged):
    verdict = judged("import os\n\ndef work(n):\n    while True: os.fork()\n", deadline=20)
    assert verdict.verdict == "too many processes"
    assert "fork bomb" in verdict.feedback


@pytest.mark.parametrize(
    ("code", "verdict", "says"),
    [
        ("def work(n:\n", "failed", "SyntaxError"),
        ("import os\nos._exit(0)\n", "crashed", "exit status 0"),
        ("import sys\nsys.exit(0)\n", "failed", "loading it raised SystemExit"),
        ("raise ValueError('top')\n", "failed", "loading it raised ValueError: top at line 1"),
        ("while True: pass\n", "out of time", "an endless loop"),
        ("", "failed", "there is no work"),
        ("x = '\0'\n", "failed", "null bytes"),
        (b"# \xff\n\ndef work(n): return n\n", "failed", "SyntaxError: the file is not UTF-8 at line 1"),
        ("x = (\n", "failed", "SyntaxError: '(' was never closed at line 1 of exercises.py: x = ("),
    ],
)
def test_a_file_that_does_not_load(judged, code, verdict, says):
    found = judged(code, deadline=1.5 if verdict == "out of time" else 5)
    assert found.verdict == verdict
    assert says in found.feedback


def test_a_file_that_does_not_load_is_told_once(tmp_path):
    mini_course.make(tmp_path, RETURNS, code="def work(n:\n")
    first, second = run("labs", root=tmp_path)
    assert "SyntaxError" in first.feedback
    assert second.feedback == "1.2 other works: not run, because exercises.py does not load: see 1.1"
    assert (second.verdict, second.points) == ("failed", 0)


def test_an_early_exception_is_told_before_what_it_caused(judged):
    checks = """
def test_server(student):
    pending = student.start("work", 1)
    student.until(lambda audit: pending.done or audit.children, should="make a child")
    student.should(student.audit().children, should="have a child", but="it has none", mistake="something else")
"""
    feedback = judged("import os\ndef work(n): os.frok()\n", checks).feedback
    assert "it raised AttributeError: module 'os' has no attribute 'frok'" in feedback
    assert "something else" not in feedback


def test_an_endless_loop_while_something_is_waited_for(judged):
    checks = """
def test_server(student):
    student.start("work", 1)
    student.until(lambda audit: audit.children, should="make a child", mistake="something else")
"""
    feedback = judged("def work(n):\n    while True: pass\n", checks, deadline=1.5).feedback
    assert "likely mistake: an endless loop" in feedback


def test_a_seed_that_is_no_number_is_one_line(tmp_path, monkeypatch):
    mini_course.make(tmp_path, RETURNS)
    monkeypatch.setenv("CHATLAB_SEED", "abc")
    with pytest.raises(CourseError, match="CHATLAB_SEED is 'abc': set it to a whole number"):
        run("labs", root=tmp_path)


def test_the_feedback_has_its_form(judged):
    verdict = judged("def work(n): return 3")
    lines = verdict.feedback.splitlines()
    assert lines[0] == "1.1 first: it returns its argument"
    assert lines[1].startswith("  1. work(")
    assert lines[2].startswith("  should  return ")
    assert lines[3:6] == [
        "  but     it returned 3",
        "  likely mistake: hard-coded",
        "  read    labs/01_mini/README.md",
    ]
    assert lines[-1].startswith("  again   CHATLAB_SEED=")


def test_the_seed_repeats_the_random_values(tmp_path):
    mini_course.make(tmp_path, RETURNS, code="def work(n): return 3")
    first, again = (run("labs", ["1.1"], root=tmp_path, seed=5)[0].feedback for _ in range(2))
    assert first == again
    assert run("labs", ["1.1"], root=tmp_path, seed=6)[0].feedback != first


def test_a_judge_that_fails_is_never_the_students_fault(judged):
    verdict = judged(
        "def work(n): return n", "def test_wrong(student):\n    assert student.call('work', 1).value == 2\n"
    )
    assert (verdict.verdict, verdict.points) == ("judge's fault", 0)
    assert "not your mistake" in verdict.feedback


def test_a_judge_that_does_not_load_is_the_judges_fault(judged):
    assert judged("def work(n): return n", "import no_such_module\n").verdict == "judge's fault"


def test_a_judge_without_checks_is_the_judges_fault(judged):
    assert judged("def work(n): return n", "x = 1\n").verdict == "judge's fault"


def test_a_judge_that_is_killed_on_the_way_is_the_judges_fault(judged):
    """A check whose result never comes is missed, though those before it passed."""
    checks = """
def test_first(student):
    assert student.call("work", 1).value == 1

def test_second(student):
    os.kill(os.getpid(), 9)
"""
    verdict = judged("def work(n): return n", checks)
    assert (verdict.verdict, verdict.points) == ("judge's fault", 0)
    assert "not your mistake" in verdict.feedback


def test_each_verdict_is_told_as_soon_as_it_is_known(tmp_path):
    """The first exercise's verdict comes while the second one's check still runs: it ends only when it is told."""
    flag = tmp_path / "told"
    second = f"""
def test_waits(student):
    import time
    while not os.path.exists({str(flag)!r}):
        time.sleep(0.01)
"""
    mini_course.make(tmp_path, RETURNS, code="def work(n): return n", second_checks=second)
    found = run("labs", root=tmp_path, on_verdict=lambda verdict: flag.touch())
    assert [verdict.verdict for verdict in found] == ["passed", "passed"]


def test_the_judge_ends_with_whoever_asked(tmp_path):
    mark = f"work-of-{os.getpid()}"
    mini_course.make(tmp_path, RETURNS, code=f"import os\nMARK = {mark!r}\nwhile True: pass\n", deadline=1000)
    source = f"from chatlab.judge import run; run('labs', ['1.1'], root=__import__('pathlib').Path({str(tmp_path)!r}))"
    with subprocess.Popen([sys.executable, "-c", source], cwd=Path(__file__).parents[2]) as asker:
        until(lambda: _hosts(tmp_path), "the student's process")
        asker.kill()
    until(lambda: not _hosts(tmp_path), "the judge to end")


def _hosts(folder: Path) -> list[int]:
    return [pid for pid in _pids() if str(folder).encode() in _command_line(pid)]


def test_not_checked_is_never_passed(judged, monkeypatch, tmp_path):
    """Without strace on the PATH a check of system calls is not checked, and the exercise not passed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bwrap", "true"):
        for place in ("/usr/bin", "/bin"):
            if Path(place, name).exists():
                (folder / name).symlink_to(Path(place, name))
                break
    monkeypatch.setenv("PATH", str(folder))
    checks = "def test_calls(student):\n    student.call('work', 1)\n    assert student.syscalls('write') is not None\n"
    verdict = judged("def work(n): return n", RETURNS + checks)
    assert (verdict.verdict, verdict.points) == ("not checked", 0)
    assert "strace" in verdict.feedback
    assert [check.verdict for check in verdict.checks] == ["passed", "not checked"]


def test_system_calls_are_seen(judged):
    checks = """
def test_calls(student):
    student.call("work", 1)
    pipes = student.syscalls("pipe2")
    student.should(len(pipes) == 2, should="make two pipes", but=f"it made {len(pipes)}")
    kinds = {d.kind for d in student.trace().descriptors}
    assert not [d for d in student.trace().descriptors if d.fd == 250], kinds
"""
    assert judged("import os\ndef work(n):\n    os.pipe(), os.pipe()\n", checks).verdict == "passed"


def test_an_injected_failure_is_certain(judged):
    checks = """
@pytest.mark.inject("clone", error="EAGAIN", when="2+")
def test_fails(student):
    call = student.call("work", 1, raises=True)
    student.should(call.exception and call.exception.errno == 11, should="raise EAGAIN", but=f"{call.exception}")
    student.should(call.exception.type == "BlockingIOError", should="x", but=f"{call.exception}")
"""
    code = "import os\ndef work(n):\n    for _ in range(2):\n        os.fork() or os._exit(0)\n        os.wait()\n"
    assert judged(code, checks).verdict == "passed"


def test_a_limit_holds(judged):
    checks = """
@pytest.mark.prlimit("NOFILE", 20)
def test_limit(student):
    student.should(student.call("work", 1).value == "EMFILE", should="be told")
"""
    # The judge's channel lies above the limit: it was there before.
    code = """
import os, errno

def work(n):
    try:
        while True:
            os.dup(0)
    except OSError as error:
        return errno.errorcode[error.errno]
"""
    assert judged(code, checks).verdict == "passed"


def test_values_travel_both_ways(judged):
    checks = r"""
VALUES = [None, True, 7, -2.5, "text \udc80", b"\0\xff", [1, [2]], (1, (b"x",)), {"a": 1, 2: (3,)}, {1, 2}]

def test_values(student):
    for value in VALUES:
        got = student.call("work", value).value
        assert got == value and type(got) is type(value), (got, value)
"""
    assert judged("def work(value): return value", checks).feedback == ""


def test_descriptors_travel_both_ways(judged):
    checks = """
import os, socket

def test_descriptors(student):
    ours, theirs = socket.socketpair()
    call = student.call("work", theirs, Fd(theirs.fileno()))
    kind, is_number = call.value
    assert (kind, is_number) == ("socket", True)
    assert ours.recv(10) == b"xy"
    back = student.call("give").value
    assert isinstance(back, socket.socket)
    number = student.call("give_number", returns_fd=True).value
    assert isinstance(number, Fd) and os.fstat(number.fileno())
    number.close()
    student.receives(ours, b"later") if student.call("say").value is None else None
"""
    code = """
import os, socket

def work(sock, number):
    global kept
    kept = sock
    sock.sendall(b"x")
    os.write(number, b"y")
    return type(sock).__name__, isinstance(number, int)

def give():
    return kept

def give_number():
    return kept.fileno()

def say():
    kept.sendall(b"later")
"""
    assert judged(code, checks).feedback == ""


def test_a_socket_that_only_the_answer_holds_arrives(judged):
    checks = """
def test_pair(student):
    ours, theirs = student.call("work").value
    ours.sendall(b"x")
    assert theirs.recv(1) == b"x"
"""
    assert judged("import socket\n\ndef work(): return socket.socketpair()\n", checks).feedback == ""


def test_objects_and_names(judged):
    checks = """
def test_objects(student):
    student.define("def double(n): return n * 2 + base")
    counter = student.new("Counter", 5)
    assert counter.call("add", 3).value == 8
    assert counter.get("total") == 8
    assert student.call("apply", Name("double"), 4).value == 108
    assert student.call("same", counter, counter).value is True
    assert student.get("base") == 100
"""
    code = """
base = 100
class Counter:
    def __init__(self, start): self.total = start
    def add(self, n):
        self.total += n
        return self.total
def apply(function, n): return function(n)
def same(a, b): return a is b and isinstance(a, Counter)
"""
    assert judged(code, checks).feedback == ""


def test_none_as_a_constant_is_not_started(judged):
    checks = "def test_lines(student):\n    student.get('LINES')\n"
    assert judged("LINES = None", checks).verdict == "not started"


def test_a_stub_that_is_started_is_not_started(judged):
    checks = """
def test_server(student):
    student.start("work", 1)
    student.until(lambda audit: audit.children, should="make a child")
"""
    verdict = judged(mini_course.STUBS, checks, deadline=60)
    assert verdict.verdict == "not started"
    assert verdict.seconds < 30


def test_an_exception_of_a_started_call_is_told_at_once(judged):
    checks = """
def test_server(student):
    student.start("work", 1)
    student.until(lambda audit: audit.children, should="make a child")
"""
    verdict = judged("def work(n): return missing", checks, deadline=60)
    assert "it raised NameError" in verdict.feedback
    assert verdict.seconds < 30


def test_a_running_call_can_be_talked_to(judged):
    checks = """

def test_server(student):
    ours, theirs = socket.socketpair()
    pending = student.start("work", theirs)
    student.until(lambda audit: audit.own.waits_in.startswith("recvfrom"), should="wait for data")
    assert not pending.done
    ours.sendall(b"abc")
    student.receives(ours, b"ABC")
    ours.shutdown(socket.SHUT_WR)
    assert pending.result().value == 3
    theirs.close()
"""
    code = """
def work(sock):
    total = 0
    while data := sock.recv(10):
        total += len(data)
        sock.sendall(data.upper())
    return total
"""
    assert judged(code, checks).feedback == ""


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("sock.sendall(b'abd')", "the client received b'abd'"),
        ("sock.sendall(b'ab'); sock.shutdown(2)", "the client received b'ab', then end of file"),
        ("sock.shutdown(2)", "the client received nothing, then end of file"),
        ("sock.sendall(b'ab'); sock.recv(1)", "the client received b'ab', and then nothing more; process"),
    ],
)
def test_what_a_client_receives_instead_is_said(judged, code, says):
    checks = """

def test_server(student):
    ours, theirs = socket.socketpair()
    student.start("work", theirs)
    theirs.close()
    student.receives(ours, b"abc", mistake="m")
"""
    assert says in judged(f"def work(sock):\n    {code}\n", checks).feedback


def test_the_end_of_file_that_does_not_come(judged):
    checks = """

def test_end(student):
    ours, theirs = socket.socketpair()
    student.call("work", theirs)
    theirs.close()
    student.receives_end(ours, mistake="a kept copy")
"""
    verdict = judged("def work(sock): pass\n", checks)
    assert "should  let the client see end of file" in verdict.feedback
    assert "the client still waits for it" in verdict.feedback


def test_checks_after_one_out_of_time_are_not_run(judged):
    checks = RETURNS + RETURNS.replace("test_returns", "test_again")
    verdict = judged("def work(n):\n    while True: pass\n", checks)
    assert [check.verdict for check in verdict.checks] == ["out of time", "out of time"]
    assert verdict.seconds < 5 * float(os.environ.get("CHATLAB_TIME_SCALE", "1"))


def test_the_trace_of_a_failed_check_is_kept(tmp_path):
    mini_course.make(tmp_path, RETURNS, code="def work(n): return 3")
    run("labs", ["1.1"], root=tmp_path, keep_traces=tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept" / "1.1").iterdir()) == ["check.json", "strace"]


def test_output_is_what_the_whole_tree_wrote(judged):
    checks = """
def test_output(student):
    assert student.call("work").output == b"once\\ntwice\\ntwice\\n"
"""
    code = """
import os, sys
def work():
    print("once", flush=True)
    print("twice")
    if os.fork() == 0:
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""
    assert judged(code, checks).feedback == ""


def test_severity_orders_every_verdict():
    known = {value for name, value in vars(verdicts).items() if name.isupper() and isinstance(value, str)}
    assert known == set(verdicts.SEVERITY)


def test_the_student_cannot_write_to_the_course(judged, monkeypatch):
    if contain.tier() != contain.BUBBLEWRAP:
        pytest.skip("only bubblewrap makes the course read-only")
    checks = """
def test_writes(student):
    call = student.call("work", str(student.exercise.root / "course.toml"), raises=True)
    student.should(call.exception and call.exception.errno == 30, should="be refused (EROFS)", but=f"{call.exception}")
"""
    assert judged("def work(path): open(path, 'a').write('x')\n", checks).feedback == ""


def test_each_check_has_a_process_of_its_own(judged):
    body = "    assert student.call('work').value == 1\n"
    checks = f"def test_a(student):\n{body}\ndef test_b(student):\n{body}"
    code = "count = 0\ndef work():\n    global count\n    count += 1\n    return count\n"
    assert judged(code, checks).verdict == "passed"

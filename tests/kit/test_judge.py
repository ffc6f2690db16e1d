"""The judge's verdicts, over small courses made for it: every one of them, and nothing left running."""

import os
from pathlib import Path

import pytest

from chatlab.judge import contain, run, verdicts
from tests.kit import mini_course
from tests.kit.waiting import running


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
    assert not running(mark)


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
    mini_course.make(tmp_path, mini_course.RETURNS, code="def work(n:\n")
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


def test_a_judge_that_fails_is_never_the_students_fault(judged):
    verdict = judged(
        "def work(n): return n", "def test_wrong(student):\n    assert student.call('work', 1).value == 2\n"
    )
    assert (verdict.verdict, verdict.points) == ("judge's fault", 0)
    assert "not your mistake" in verdict.feedback


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
    verdict = judged("def work(n): return n", mini_course.RETURNS + checks)
    assert (verdict.verdict, verdict.points) == ("not checked", 0)
    assert "strace" in verdict.feedback
    assert [check.verdict for check in verdict.checks] == ["passed", "not checked"]


def test_checks_after_one_out_of_time_are_not_run(judged):
    checks = mini_course.RETURNS + mini_course.RETURNS.replace("test_returns", "test_again")
    verdict = judged("def work(n):\n    while True: pass\n", checks, deadline=1.5)
    assert [check.verdict for check in verdict.checks] == ["out of time", "out of time"]
    assert "not run, because an earlier check of this exercise ended with: out of time" in verdict.checks[1].feedback


def test_severity_orders_every_verdict():
    known = {value for name, value in vars(verdicts).items() if name.isupper() and isinstance(value, str)}
    assert known == set(verdicts.SEVERITY)

"""Runs of the judge: their seeds, their order, their ends, and the pytest that stays warm between them."""

import subprocess
import sys
from pathlib import Path

import pytest

from chatlab.course import CourseError
from chatlab.judge import run
from tests.kit import mini_course
from tests.kit.waiting import alive, running, until


@pytest.fixture(params=[False, True], ids=["cold", "warm"])
def warmth(request):
    """Both ways to run the judge: a pytest started anew, and one forked from one that waits."""
    return request.param


def test_a_seed_that_is_no_number_is_one_line(tmp_path, monkeypatch):
    mini_course.make(tmp_path, mini_course.RETURNS)
    monkeypatch.setenv("CHATLAB_SEED", "abc")
    with pytest.raises(CourseError, match="CHATLAB_SEED is 'abc': set it to a whole number"):
        run("labs", root=tmp_path)


def test_the_seed_repeats_the_random_values(tmp_path, warmth):
    mini_course.make(tmp_path, mini_course.RETURNS, code="def work(n): return 3")
    first, again = (run("labs", ["1.1"], root=tmp_path, seed=5, warm=warmth)[0].feedback for _ in range(2))
    assert first == again
    assert run("labs", ["1.1"], root=tmp_path, seed=6, warm=warmth)[0].feedback != first


def test_a_judge_that_does_not_load_is_the_judges_fault(judged, warmth):
    assert judged("def work(n): return n", "import no_such_module\n", warm=warmth).verdict == "judge's fault"


def test_a_judge_without_checks_is_the_judges_fault(judged, warmth):
    assert judged("def work(n): return n", "x = 1\n", warm=warmth).verdict == "judge's fault"


def test_a_judge_that_is_killed_on_the_way_is_the_judges_fault(judged, warmth):
    """A check whose result never comes is missed, though those before it passed."""
    checks = """
def test_first(student):
    assert student.call("work", 1).value == 1

def test_second(student):
    os.kill(os.getpid(), 9)
"""
    verdict = judged("def work(n): return n", checks, warm=warmth)
    assert (verdict.verdict, verdict.points) == ("judge's fault", 0)
    assert "not your mistake" in verdict.feedback


def test_each_verdict_is_told_as_soon_as_it_is_known(tmp_path, warmth):
    """The first exercise's verdict comes while the second one's check still runs: it ends only when it is told."""
    flag = tmp_path / "told"
    second = f"""
def test_waits(student):
    import time
    while not os.path.exists({str(flag)!r}):
        time.sleep(0.01)
"""
    mini_course.make(tmp_path, mini_course.RETURNS, code="def work(n): return n", second_checks=second)
    found = run("labs", root=tmp_path, warm=warmth, on_verdict=lambda verdict: flag.touch())
    assert [verdict.verdict for verdict in found] == ["passed", "passed"]


def test_the_judge_ends_with_whoever_asked(tmp_path, warmth):
    mini_course.make(tmp_path, mini_course.RETURNS, code="while True: pass\n", deadline=1000)
    source = f"""
import pathlib, chatlab.judge
chatlab.judge.run("labs", ["1.1"], root=pathlib.Path({str(tmp_path)!r}), warm={warmth})
"""
    with subprocess.Popen([sys.executable, "-c", source], cwd=Path(__file__).parents[2]) as asker:
        until(lambda: running(str(tmp_path)), "the student's process")
        asker.kill()
    until(lambda: not running(str(tmp_path)), "the judge to end")


def test_the_trace_of_a_failed_check_is_kept(tmp_path):
    mini_course.make(tmp_path, mini_course.RETURNS, code="def work(n): return 3")
    run("labs", ["1.1"], root=tmp_path, keep_traces=tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept" / "1.1").iterdir()) == ["check.json", "strace"]


# A judge that leaves traces of itself wherever one can, and complains of those of another.
MESSY = """
import sys

def test_messy(student):
    call = student.call("work", 1)
    assert "mess" not in os.environ and not hasattr(sys, "mess") and os.getcwd() == str(student.exercise.root)
    os.environ["mess"] = sys.mess = "left"
    os.chdir("/")
    print("mess")
    assert call.value == 1
"""


def test_a_warm_run_sees_nothing_of_the_one_before(tmp_path):
    folders = [mini_course.make(tmp_path / name, MESSY, code="def work(n): return n") for name in ("one", "two")]
    for folder in (*folders, folders[0]):
        [verdict] = run("labs", ["1.1"], root=folder, warm=True)
        assert verdict.feedback == ""


def test_both_ways_say_the_same(tmp_path):
    mini_course.make(tmp_path, mini_course.RETURNS, code="def work(n): return 3")
    cold, warm_one = (run("labs", root=tmp_path, seed=7, warm=warmth) for warmth in (False, True))
    assert [verdict.feedback for verdict in cold] == [verdict.feedback for verdict in warm_one]
    assert [verdict.line for verdict in cold] == [verdict.line for verdict in warm_one]


def test_a_warm_run_inside_of_another(tmp_path):
    """A caller may judge again while it is told of a verdict: then there are two that wait, from then on."""
    mini_course.make(tmp_path, mini_course.RETURNS, code="def work(n): return n")
    inner = []
    run(
        "labs",
        ["1.1"],
        root=tmp_path,
        warm=True,
        on_verdict=lambda _: inner.extend(run("labs", ["1.1"], root=tmp_path, warm=True)),
    )
    assert [verdict.verdict for verdict in inner] == ["passed"]


def test_one_that_has_died_while_it_waited_is_replaced(tmp_path):
    mini_course.make(tmp_path, mini_course.RETURNS, code="def work(n): return n")
    source = f"""
import os, pathlib, signal
from chatlab.judge import run, warm

for _ in range(2):
    print(run("labs", ["1.1"], root=pathlib.Path({str(tmp_path)!r}), warm=True)[0].line)
    os.kill(warm._idle[-1].pid, signal.SIGKILL)
    os.waitid(os.P_PID, warm._idle[-1].pid, os.WEXITED | os.WNOWAIT)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1.1 first  4/4"] * 2
    assert not done.stderr


def test_what_waits_ends_with_its_asker(tmp_path):
    mini_course.make(tmp_path, mini_course.RETURNS, code="def work(n): return n")
    source = f"""
import os, pathlib
from chatlab.judge import run, warm

run("labs", ["1.1"], root=pathlib.Path({str(tmp_path)!r}), warm=True)
print(warm._idle[-1].pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    until(lambda: not alive(int(done.stdout)), "the waiting pytest to end")

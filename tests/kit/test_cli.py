"""The command line as a black box: what it prints, what it remembers, its exit statuses, and one line for trouble."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chatlab import cli, course, procfs
from chatlab.launch.program import scale
from chatlab.progress import Store, digests
from tests.kit import mini_course
from tests.kit.command import chatlab, environment, started
from tests.kit.waiting import alive, until

ROOT = Path(__file__).resolve().parents[2]

CHECKS = '''
def test_doubles(student):
    """It doubles."""
    number = student.random.randrange(1, 10**6)
    call = student.call("work", number)
    student.should(call.value == 2 * number, should="return the double", but=f"it returned {call.value!r}")
'''
RIGHT = "import os\n\ndef work(n):\n    return 2 * n\n\ndef other():\n    return helper()\n\ndef helper():\n    pass\n"
WRONG = RIGHT.replace("2 * n", "n")
ENDLESS = RIGHT.replace("return helper()", "helper()\n    while True: pass")


def write(root: Path, code: str) -> None:
    (root / "labs" / "01_mini" / "exercises.py").write_text(code)


@pytest.fixture
def mini(tmp_path):
    return mini_course.make(tmp_path / "course", CHECKS)


def assert_one_line(done: subprocess.CompletedProcess, says: str, status: int) -> None:
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("chatlab: ") and says in lines[0]
    assert done.returncode == status


# Trouble


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (["check", "1.9"], "there is no exercise 1.9: lab 1 has 1.1, 1.2", 2),
        (["check", "9"], "there is no lab 9: the course has 1", 2),
        (["check", "x"], "'x' is neither a lab, such as 1, nor an exercise, such as 1.2", 2),
        (["check", "1", "--work", "nowhere"], "--work nowhere: there is no such folder", 2),
        (["check", "1", "--wrok", "labs"], "no such option: --wrok", 2),
        (["check", "1", "2"], "unexpected extra argument", 2),
        (["lab"], "missing argument 'N'", 2),
        (["lab", "one"], "invalid value for 'N'", 2),
        (["lab", "9"], "there is no lab 9", 2),
        (["hint"], "name an exercise: chatlab hint 1.2, or make hint EX=1.2", 2),
        (["hint", "1.1", "--level", "3"], "exercise 1.1 has 2 hints, no hint 3", 2),
        (["why"], "name an exercise: chatlab why 1.2, or make why EX=1.2", 2),
        (["why", "1.1"], "no failed check of exercise 1.1 is kept", 1),
        (["no-such-command"], "no such command 'no-such-command'", 2),
        (["chat"], "labs/04_poll_server/poll_server.py is not there", 1),
        (["chat", "--port", "65536"], "'--port'", 2),
        (["bench"], "benchmarks/run.py is not there: git restore benchmarks brings it back", 1),
        (["notebooks"], "notebooks/text holds no notebook", 1),
        (["stress", "--times", "0"], "'--times'", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_trouble_is_one_line(mini, arguments, says, status):
    assert_one_line(chatlab(*arguments, cwd=mini), says, status)


@pytest.mark.parametrize("number", [3, 4, 5, 6])
def test_a_lab_that_is_not_built_names_its_stage(number):
    title = course.load(ROOT).lab(number).title
    if course.load(ROOT).exercises_of(number):
        pytest.skip(f"lab {number} is built")
    done = chatlab("lab", str(number), cwd=ROOT)
    assert_one_line(done, f"lab {number}, {title}, is not built yet: it comes with stage {number} of the course", 1)


def test_broken_manifest_is_one_line(mini):
    (mini / "course.toml").write_text("[course\n")
    assert_one_line(chatlab("progress", cwd=mini), "course.toml is not TOML", 1)


def test_outside_of_a_course_the_checkout_is_meant(tmp_path):
    done = chatlab("check", "99", cwd=tmp_path)
    assert_one_line(done, "the course has 1, 2, 3, 4, 5, 6", 2)


def test_missing_exercises_file_is_one_line_with_the_cure(mini):
    (mini / "labs" / "01_mini" / "exercises.py").unlink()
    done = chatlab("check", "1", cwd=mini)
    assert_one_line(done, "is not there: git restore labs/01_mini/exercises.py brings it back", 1)


def test_time_scale_that_is_no_number_is_one_line(mini):
    done = chatlab("check", "1", cwd=mini, CHATLAB_TIME_SCALE="soon")
    assert_one_line(done, "CHATLAB_TIME_SCALE is 'soon': set it to a number above 0", 1)


def test_fault_of_the_kit_is_one_line_and_says_how_to_see_more(monkeypatch, capsys):
    def fail():
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(course, "load", fail)
    monkeypatch.delenv("CHATLAB_DEBUG", raising=False)
    assert cli.main(["progress"]) == 1
    said = "chatlab: a fault of the kit, ZeroDivisionError: by zero (CHATLAB_DEBUG=1 shows where)\n"
    assert capsys.readouterr().err == said
    monkeypatch.setenv("CHATLAB_DEBUG", "1")
    assert cli.main(["progress"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_package_that_is_missing_is_one_line_with_the_cure():
    # -S: Python without the packages installed beside it, as in a .venv that somebody has cleared.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "chatlab", "check", "1"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_line(done, "the environment is incomplete, typer is missing: remove .venv, then make lab-1", 1)


@pytest.mark.skipif(shutil.which("strace") is None, reason="without strace no trace is kept")
def test_picture_that_cannot_be_written_is_one_line(mini):
    write(mini, WRONG)
    assert chatlab("check", "1.1", cwd=mini).returncode == 1
    (mini / ".chatlab" / "why" / "1.1" / "why.png").mkdir()
    done = chatlab("why", "1.1", cwd=mini)
    assert_one_line(done, ".chatlab/why/1.1/why.png cannot be written: Is a directory", 1)


def test_reader_that_has_seen_enough_is_no_trouble(mini):
    read, write_end = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "chatlab", "progress"],
        cwd=mini,
        env=environment(),
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert done.stderr == b""
    assert done.returncode == 1


# The commands themselves


def test_without_a_command_help_is_shown(mini):
    done = chatlab(cwd=mini)
    assert done.returncode == 0
    for name in ("lab", "check", "hint", "why", "watch", "progress", "doctor", "notebook", "stress", "clean"):
        assert f" {name} " in done.stdout


def test_light_commands_import_nothing_heavy(mini):
    code = (
        "import sys; from chatlab.cli import main; assert main(['hint', '1.1']) == 0;"
        "print(sorted({'numpy', 'matplotlib', 'pytest', 'watchfiles', 'jupytext'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=mini, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_of_stubs(mini):
    done = chatlab("check", "1", cwd=mini)
    assert done.stdout == "1.1 first  0/4  not started\n1.2 second  0/6  not started\nsum  0/10\n"
    assert (done.returncode, done.stderr) == (1, "")


def test_check_of_right_answers(mini):
    write(mini, RIGHT)
    done = chatlab("check", cwd=mini)
    assert (done.returncode, done.stdout) == (0, "1.1 first  4/4\n1.2 second  6/6\nsum  10/10\n")


def test_check_of_one_exercise_has_no_sum(mini):
    write(mini, RIGHT)
    done = chatlab("check", "1.2", cwd=mini)
    assert (done.returncode, done.stdout) == (0, "1.2 second  6/6\n")


def test_feedback_comes_between_the_lines_and_the_sum(mini):
    write(mini, WRONG)
    done = chatlab("check", "1", cwd=mini)
    lines = done.stdout.splitlines()
    assert lines[:4] == ["1.1 first  0/4", "1.2 second  6/6", "", "1.1 first: it doubles"]
    assert "  should  return the double" in lines
    assert lines[-1] == "sum  6/10"
    assert done.returncode == 1


def test_check_of_another_folder_is_not_the_students_progress(mini):
    write(mini, WRONG)
    (mini / "mine" / "01_mini").mkdir(parents=True)
    (mini / "mine" / "01_mini" / "exercises.py").write_text(RIGHT)
    assert chatlab("check", "1", "--work", "mine", cwd=mini).returncode == 0
    assert "1.1 first                          0/4  not judged yet" in chatlab("progress", cwd=mini).stdout


def test_interrupted_check_ends_in_one_line_and_leaves_nothing(mini, tmp_path):
    mini_course.make(tmp_path / "slow", CHECKS, code=ENDLESS, deadline=600)
    output = tmp_path / "output"
    with started("check", "1.2", cwd=tmp_path / "slow", output=output) as process:

        def judged() -> list[int]:
            tree = [stat.pid for stat in procfs.descendants(process.pid)]
            return tree if any("judge/host.py" in (procfs.command_line(pid) or "") for pid in tree) else []

        tree = until(judged, "the process that runs the exercise")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30 * scale()) == 130
    assert output.read_text() == "chatlab: interrupted\n"
    until(lambda: not any(alive(pid) for pid in tree), "the end of all that the check had started")


def test_colour_is_for_terminals(mini):
    write(mini, RIGHT)
    assert "\x1b" not in chatlab("progress", cwd=mini).stdout + chatlab("check", "1", cwd=mini).stdout
    main_end, terminal = pty.openpty()
    changes = {"TERM": "xterm-256color", "NO_COLOR": None, "CI": None}
    process = subprocess.Popen(
        [sys.executable, "-m", "chatlab", "progress"], cwd=mini, env=environment(**changes), stdout=terminal
    )
    os.close(terminal)
    shown = read_to_the_end(main_end)
    assert process.wait() == 0
    assert b"\x1b[32m" in shown and b"passed" in shown


def read_to_the_end(main_end: int) -> bytes:
    shown = b""
    while True:
        try:
            chunk = os.read(main_end, 65536)
        except OSError:  # EIO: the last process has closed the terminal, pty(7)
            break
        if not chunk:
            break
        shown += chunk
    os.close(main_end)
    return shown


# What is remembered


def test_hints_come_one_after_the_other(mini):
    said = [chatlab("hint", "1.1", cwd=mini).stdout for _ in range(3)]
    assert said[0] == "1.1 first, hint 1 of 2\n  a\n"
    assert said[1] == "1.1 first, hint 2 of 2\n  b\n"
    assert said[2] == said[1] + "There are no further hints. Read labs/01_mini/README.md\n"
    assert chatlab("hint", "1.1", "--level", "1", cwd=mini).stdout == said[0]
    assert chatlab("hint", "1.2", cwd=mini).stdout.startswith("1.2 second, hint 1 of 2")


def test_progress_knows_verdicts_and_when_they_are_stale(mini):
    assert "1.1 first                          0/4  not judged yet" in chatlab("progress", cwd=mini).stdout
    write(mini, RIGHT)
    chatlab("check", "1", cwd=mini)
    said = chatlab("progress", cwd=mini).stdout
    assert "lab 1  mini  10/10" in said
    assert "10/10 points, 2 of 2 exercises\nAll that is built is done.\n" in said
    write(mini, RIGHT.replace("pass", "return None"))  # a helper of 1.2 alone
    said = chatlab("progress", cwd=mini).stdout
    assert "1.1 first                          4/4  passed\n" in said
    assert "1.2 second                         0/6  passed, changed since\n" in said
    assert "4/10 points, 1 of 2 exercises\nnext: 1.2 second, in labs/01_mini/exercises.py\n" in said


def test_digests_follow_what_an_exercise_uses(mini):
    exercises = course.load(mini).exercises
    first = digests(RIGHT, exercises)
    changed = [
        ("# a comment\n" + RIGHT.replace("2 * n", "2  *  n"), set()),
        (RIGHT.replace("2 * n", "3 * n"), {"1.1"}),
        (RIGHT.replace("pass", "return 1"), {"1.2"}),
        (RIGHT.replace("import os", "import sys"), set()),
        (RIGHT.replace("2 * n", "2 * n + os.getpid()"), {"1.1"}),
        (RIGHT + "print('loose')\n", {"1.1", "1.2"}),
        (RIGHT.replace("def work(n)", "def work(m)"), {"1.1"}),
    ]
    for source, wanted in changed:
        now = digests(source, exercises)
        assert {exercise for exercise in first if first[exercise] != now[exercise]} == wanted, source


@pytest.mark.parametrize(
    "damage",
    [b"{", b"[]", b'{"1.1": 3}', b'{"1.1": {"verdict": "passed"}}', b"\xff\xfe", b'"' + b"[" * 9, b"[" * 100_000],
    ids=range(7),
)
def test_damaged_memory_is_set_aside_and_nothing_is_lost(mini, damage):
    write(mini, RIGHT)
    kept = mini / ".chatlab"
    kept.mkdir()
    for number in (1, 2):
        (kept / "verdicts.json").write_bytes(damage)
        done = chatlab("progress", cwd=mini)
        aside = f"verdicts.damaged-{number}.json"
        assert done.stderr == (
            f"chatlab: .chatlab/verdicts.json is damaged: it is set aside as {aside}, and a new one begins\n"
        )
        assert done.returncode == 0
        assert (kept / aside).read_bytes() == damage
    assert chatlab("check", "1", cwd=mini).returncode == 0
    assert json.loads((kept / "verdicts.json").read_text())["1.1"]["verdict"] == "passed"


def test_memory_that_cannot_be_written_costs_only_the_memory(mini):
    write(mini, RIGHT)
    (mini / ".chatlab").write_text("a file, not a folder")
    done = chatlab("hint", "1.1", cwd=mini)
    assert done.stdout == "1.1 first, hint 1 of 2\n  a\n"
    assert "cannot be written, so this is not remembered" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path; from chatlab.progress import Store\n"
        "store = Store(Path(sys.argv[1]), print)\n"
        "for n in range(30): store.keep_verdict(f'{sys.argv[2]}.{n}', 'passed', 1, 'd')\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)], env=environment())
        for number in range(4)
    ]
    assert [writer.wait(60 * scale()) for writer in writers] == [0, 0, 0, 0]
    complaints = []
    assert len(Store(tmp_path, complaints.append).verdicts()) == 4 * 30
    assert complaints == []
    assert sorted(path.name for path in (tmp_path / ".chatlab").iterdir()) == ["verdicts.json"]


# watch


def test_watch_judges_what_is_edited_survives_half_saved_files_and_ends_cleanly(mini, tmp_path):
    output = tmp_path / "output"
    with started("watch", cwd=mini, output=output) as process:

        def said(text: str) -> None:
            until(lambda: text in output.read_text() or process.poll() is not None, f"{text!r}")
            assert text in output.read_text()

        said("watching labs/")
        write(mini, "def work(n:\n")
        said("labs/01_mini/exercises.py, line 1: ")
        write(mini, mini_course.STUBS.replace("(*args):\n    raise", "(n):\n    return 2 * n\n    raise", 1))
        said("1.1 first  4/4\n")
        said("4/10 points, 1 of 2 exercises\nnext: 1.2 second")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30 * scale()) == 0
    assert "1.2 second  " not in output.read_text()
    assert output.read_text().endswith("watch ended\n")
    assert "Traceback" not in output.read_text()


# stress and clean

STRESSED = """
import os
from pathlib import Path


def test_under_load():
    assert os.environ["CHATLAB_TIME_SCALE"] == "4"
    command = os.getppid()
    tasks = Path(f"/proc/{command}/task/{command}/children").read_text().split()
    Path("children").write_text(" ".join(child for child in tasks if int(child) != os.getpid()))
    Path("runs").open("a").write("x")
    assert not Path("fail").exists() or len(Path("runs").read_text()) != 2
"""


# The runs need none of the installed plugins, which take most of the time that pytest needs to start.
BARE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.fixture
def stressed(mini):
    (mini / "tests" / "test_stressed.py").write_text(STRESSED)
    return mini


def busy(root: Path) -> list[int]:
    return [int(pid) for pid in (root / "children").read_text().split()]


def test_stress_runs_under_load_and_ends_it(stressed):
    done = chatlab("stress", "--times", "2", "tests/test_stressed.py", cwd=stressed, **BARE)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("2 of 2 runs passed while every core was loaded\n")
    assert len(busy(stressed)) == len(os.sched_getaffinity(0))
    assert not any(alive(pid) for pid in busy(stressed))
    assert not (stressed / ".chatlab" / "stress").exists()


def test_stress_reports_a_failure_and_keeps_what_it_said(stressed):
    (stressed / "fail").touch()
    done = chatlab("stress", "--times", "2", "tests/test_stressed.py", cwd=stressed, **BARE)
    assert done.returncode == 1
    assert "run 2/2  FAILED" in done.stdout
    assert done.stdout.endswith("1 of 2 runs passed while every core was loaded\n")
    assert "test_under_load" in (stressed / ".chatlab" / "stress" / "run-2.log").read_text()


def test_load_ends_with_a_killed_stress(stressed, tmp_path):
    arguments = ("stress", "--times", "1000", "tests/test_stressed.py")
    with started(*arguments, cwd=stressed, output=tmp_path / "output", **BARE) as process:
        until(lambda: (stressed / "children").exists() and busy(stressed), "the first run")
        process.kill()
        process.wait()
        until(lambda: not any(alive(pid) for pid in busy(stressed)), "the end of the load")


def test_clean_removes_what_tools_made_and_nothing_else(mini):
    chatlab("hint", "1.1", cwd=mini)
    made = [mini / "labs" / "__pycache__", mini / ".pytest_cache", mini / "build", mini / "tests" / ".ruff_cache"]
    kept = [mini / "labs" / "build", mini / ".chatlab", mini / ".venv", mini / ".venv" / "__pycache__"]
    for folder in [*made, *kept]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").touch()
    done = chatlab("clean", cwd=mini)
    assert (done.returncode, done.stdout) == (0, "removed 4 files and folders that tools had made\n")
    assert [path for path in made if path.exists()] == []
    assert [path for path in kept if not (path / "file").exists()] == []
    assert (mini / "labs" / "01_mini" / "exercises.py").exists()
    assert chatlab("clean", "--environment", cwd=mini).returncode == 0
    assert not (mini / ".venv").exists()

"""Guard: every wrong answer fails the check that it names, says what it names, and takes no other exercise with it."""

import shutil

import overlay
import pytest
from tree import IN_CI, ROOT, checks_of, course, relative

from chatlab.judge import run

AT_LEAST = 4
FAILING = {"failed", "out of time", "too many processes", "crashed", "tampered"}

# Checks that no wrong answer fails, "exercise check": why that is right. Keep it short.
NOT_FAILED_BY_ANY: dict[str, str] = {}

PATHS = overlay.wrong_answer_paths()
each_wrong_answer = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
# One for each exercise is enough on a student's machine, where all would take several times as long; CI runs them all.
FIRST = list({path.name.partition("_")[0]: path for path in reversed(PATHS)}.values())
SAMPLE = PATHS if IN_CI else FIRST
# A lab's last exercise is a program made of the pieces before, and takes seconds to judge: one wrong answer to each
# piece is enough for it.
ASSEMBLED = set({exercise.lab.folder: exercise.id for exercise in course().exercises}.values())
each_sampled_wrong_answer = pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.stem)
each_exercise = pytest.mark.parametrize("exercise", course().exercises, ids=lambda exercise: exercise.id)


def answers_to(exercise) -> list[overlay.WrongAnswer]:
    """The wrong answers to one exercise."""
    return [
        overlay.read(path)
        for path in PATHS
        if path.parent.name == exercise.lab.folder and path.name.startswith(f"{exercise.id}_")
    ]


def make_work(answer: overlay.WrongAnswer, tmp_path):
    """Write what the wrong answer makes of the solution into a work folder, and return the folder."""
    folder = tmp_path / "work" / answer.folder
    folder.mkdir(parents=True)
    (folder / "exercises.py").write_text(overlay.make(answer), encoding="utf-8")
    return tmp_path / "work"


def judge(work, exercises: list[str], check: str | None = None):
    """The verdicts of exercises over a work folder; skips where a check could not be made for want of strace."""
    verdicts = run(work, exercises, check=check, root=ROOT, warm=True)
    if "not checked" in {verdict.verdict for verdict in verdicts} and not shutil.which("strace") and not IN_CI:
        pytest.skip("strace is not installed: the check of system calls was not made")
    return verdicts


def one_line(text: str) -> str:
    return " ".join(text.split())


@each_wrong_answer
def test_it_fails_the_check_that_it_names(path, tmp_path):
    answer = overlay.read(path)
    known = checks_of(course().exercise(answer.exercise_id))
    assert answer.check in known, f"{relative(path)}: there is no check {answer.check!r}; there are {sorted(known)}"
    [verdict] = judge(make_work(answer, tmp_path), [answer.exercise_id], answer.check)
    assert verdict.verdict != "passed", (
        f"{relative(path)} passes {answer.check}: sharpen the judge, or name another check"
    )
    assert verdict.verdict in FAILING, f"{relative(path)} is {verdict.verdict}: {verdict.feedback}"
    said = one_line(verdict.feedback)
    assert one_line(answer.says) in said, (
        f"{relative(path)}: the feedback does not say {answer.says!r}:\n{verdict.feedback}"
    )


@each_sampled_wrong_answer
def test_no_other_exercise_fails_without_naming_it(path, tmp_path):
    answer = overlay.read(path)
    work = make_work(answer, tmp_path)
    others = overlay.exercises_that_build_on(answer, overlay.make(answer))
    asked = [exercise.id for exercise in others if path in FIRST or exercise.id not in ASSEMBLED]
    for verdict in judge(work, asked) if asked else []:
        other = verdict.exercise_id
        assert verdict.verdict == "passed" or answer.exercise_id in verdict.feedback.replace(other, ""), (
            f"{relative(path)} makes {other} fail too, and its feedback does not send the student to"
            f" {answer.exercise_id}:\n{verdict.feedback}"
        )


@each_exercise
def test_there_are_enough(exercise):
    found = answers_to(exercise)
    assert len(found) >= AT_LEAST, (
        f"{exercise.id} has {len(found)} wrong answers: write {AT_LEAST - len(found)} more plausible mistakes as"
        f" tests/wrong_answers/{exercise.lab.folder}/{exercise.id}_….py"
    )
    same = len(found) - len({answer.mistake for answer in found})
    assert not same, f"{exercise.id}: {same} wrong answers tell the same mistake as another"


@each_exercise
def test_every_check_can_fail(exercise):
    excused = {check for check in checks_of(exercise) if f"{exercise.id} {check}" in NOT_FAILED_BY_ANY}
    failed = {answer.check for answer in answers_to(exercise)}
    never = set(checks_of(exercise)) - failed - excused
    assert not never, f"{exercise.id}: no wrong answer fails {sorted(never)}: a check that cannot fail checks nothing"
    assert not failed & excused, f"take {sorted(failed & excused)} of {exercise.id} off NOT_FAILED_BY_ANY: it can fail"


def test_the_excuses_are_of_checks_that_exist():
    known = {f"{exercise.id} {check}" for exercise in course().exercises for check in checks_of(exercise)}
    assert not set(NOT_FAILED_BY_ANY) - known

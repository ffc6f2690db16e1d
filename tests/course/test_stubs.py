"""Guard: every exercise as a student finds it fails as "not started", for no other reason."""

import digests
import pytest
from tree import ROOT, built_labs, course, skip_if_a_student_is_at_work

from chatlab.judge import run

LABS = built_labs()
each_lab = pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.folder)


@each_lab
def test_the_untouched_file_is_recorded(lab):
    there = digests.recorded((ROOT / "course.toml").read_text(encoding="utf-8"))
    assert there[lab.folder], f"record labs/{lab.folder}/exercises.py: python tests/course/digests.py --write"


@each_lab
def test_every_exercise_is_not_started(lab):
    skip_if_a_student_is_at_work(lab.folder)
    verdicts = run("labs", [exercise.id for exercise in course().exercises_of(lab.number)], root=ROOT, warm=True)
    for verdict in verdicts:
        assert verdict.verdict == "not started", f"the stub of {verdict.exercise_id} is judged: {verdict.feedback}"
        others = [check for check in verdict.checks if check.verdict != "not started"]
        assert not others, f"{verdict.exercise_id}: {others[0].name} fails for another reason: {others[0].feedback}"
        assert verdict.points == 0

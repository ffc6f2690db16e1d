"""Guard: every solution gets full points."""

import shutil

import pytest
from tree import IN_CI, ROOT, checks_of, course

from chatlab.judge import run


@pytest.mark.parametrize("exercise", course().exercises, ids=lambda exercise: exercise.id)
def test_the_solution_gets_full_points(exercise):
    [verdict] = run("solutions", [exercise.id], root=ROOT, warm=True)
    if verdict.verdict == "not checked" and not shutil.which("strace") and not IN_CI:
        pytest.skip("strace is not installed: the checks of system calls were not made")
    assert verdict.verdict == "passed", f"correct solutions/{exercise.lab.folder} or the judge: {verdict.feedback}"
    assert verdict.points == verdict.max_points == exercise.points
    judged = {check.name.partition("[")[0] for check in verdict.checks}
    assert judged == set(checks_of(exercise)), (
        f"{exercise.id}: the judge did not run {set(checks_of(exercise)) - judged}"
    )

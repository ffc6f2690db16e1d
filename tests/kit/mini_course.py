"""A course of one lab, made anew in a folder, to judge the judge with."""

from pathlib import Path

MANIFEST = """
[course]
title = "mini"
points = 10

[[lab]]
number = 1
folder = "01_mini"
title = "mini"
points = 10

[[lab.exercise]]
id = "1.1"
title = "first"
names = ["work"]
points = 4
deadline = {deadline}
hints = ["a", "b"]

[[lab.exercise]]
id = "1.2"
title = "second"
names = ["other"]
points = 6
deadline = {deadline}
hints = ["a", "b"]
"""

PYPROJECT = """
[tool.pytest.ini_options]
addopts = "-p chatlab.judge.plugin --import-mode=importlib"
"""

STUBS = """
def work(*args):
    raise NotImplementedError("exercise 1.1 is not started")


def other(*args):
    raise NotImplementedError("exercise 1.2 is not started")
"""

JUDGE = """
import os
import socket

import pytest
from chatlab.judge import Fd, Name

pytestmark = pytest.mark.exercise("{id}")

{body}
"""


# Checks of an exercise whose work(n) returns n, and touches nothing else.
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


def make(
    folder: Path, checks: str, *, code: str | bytes = STUBS, second_checks: str = "", deadline: float = 3.0
) -> Path:
    """A course in `folder`: the source `checks` judges exercise 1.1, labs/ holds `code`. Returns folder."""
    (folder / "labs" / "01_mini").mkdir(parents=True)
    (folder / "tests" / "exercises").mkdir(parents=True)
    (folder / "course.toml").write_text(MANIFEST.format(deadline=deadline))
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "labs" / "01_mini" / "exercises.py").write_bytes(code if isinstance(code, bytes) else code.encode())
    (folder / "labs" / "01_mini" / "README.md").write_text("# mini\n")
    second = second_checks or 'def test_other(student):\n    """Other works."""\n    student.call("other")\n'
    (folder / "tests" / "exercises" / "test_1_1_first.py").write_text(JUDGE.format(id="1.1", body=checks))
    (folder / "tests" / "exercises" / "test_1_2_second.py").write_text(JUDGE.format(id="1.2", body=second))
    return folder

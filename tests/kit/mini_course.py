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

"""What notebooks rest on: the short names of the kit, and a kernel that shows what child processes print."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from chatlab import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("names", itertools.permutations(["run", "launch", "why"]), ids=" ".join)
def test_the_short_names_are_functions_in_any_order(names):
    """Modules of the same names exist, and importing one must not put it in the function's place."""
    lines = [
        f"from chatlab import {', '.join(names)}, check, plot",
        "import chatlab.launch.tree, chatlab.why",
        "from chatlab import launch, why",
        "assert all(callable(name) for name in (run, launch, why, check))",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, check=True, timeout=60)


def test_names_are_the_same_in_every_run():
    """Three turns of a loop in which everybody forks: who is whose child can be read from the names."""
    done = run("labs/01_fork/pitfalls.py", "too-many-processes", trace=True)
    if not done.trace.exact:
        pytest.skip("strace is not installed")
    names = done.trace.names("program")
    assert names[done.pid] == "program"
    assert sorted(names.values()) == [
        "child 1", "child 1.1", "child 1.1.1", "child 1.2", "child 2", "child 2.1", "child 3", "program",
    ]  # fmt: skip
    parents = {names[process.pid]: names.get(process.parent) for process in done.trace.processes}
    assert parents["child 1.1.1"] == "child 1.1"
    assert parents["child 2"] == "program"

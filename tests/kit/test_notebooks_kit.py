"""What notebooks rest on: the short names of the kit, and a kernel that shows what child processes print."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

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

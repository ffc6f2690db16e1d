"""The command that measures: bench."""

import os
import sys

import typer

from chatlab import course as courses
from chatlab.cli.say import Failure, app


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """Measure the servers beside their peers; `chatlab bench --help` shows the options."""
    root = courses.find_root()
    if not (root / "benchmarks" / "run.py").is_file():
        raise Failure("benchmarks/run.py is not there: git restore benchmarks brings it back")
    sys.stdout.flush()
    # The kit does not know the servers: they, and how they are started, belong to benchmarks/.
    os.execve(
        sys.executable,
        [sys.executable, "-m", "benchmarks.run", *context.args],
        os.environ | {"PYTHONPATH": str(root)},
    )

"""Tests run many times while every core is kept busy: what a claim such as "200 runs under load" is shown with."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chatlab.progress import FOLDER

# Ends when its parent does, whatever ended that: getppid(2) changes then.
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))\n"


@dataclass(frozen=True)
class Run:
    """One run of pytest. `log` holds its output when it failed."""

    number: int
    ok: bool
    seconds: float
    output: str
    log: Path


def runs(root: Path, tests: list[str], times: int, scale: float) -> Iterator[Run]:
    """Run pytest over `tests` `times` times under load, with CHATLAB_TIME_SCALE set to `scale`; each run as it ends."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"CHATLAB_TIME_SCALE": f"{scale:g}"}
    folder = root / FOLDER / "stress"
    with _load():
        for number in range(1, times + 1):
            began = time.monotonic()
            done = subprocess.run(
                command,
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="backslashreplace",
                check=False,
            )
            log = folder / f"run-{number}.log"
            if done.returncode:
                folder.mkdir(parents=True, exist_ok=True)
                log.write_text(done.stdout, encoding="utf-8")
            yield Run(number, done.returncode == 0, time.monotonic() - began, done.stdout, log)


@contextmanager
def _load():
    """A busy process for each core, while the block runs."""
    busy = []
    try:
        for _ in os.sched_getaffinity(0):
            busy.append(subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.DEVNULL))
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()

"""Waiting in tests: a condition looked at again and again until it holds, never a sleep that hopes."""

import time
from collections.abc import Callable
from pathlib import Path

from chatlab import procfs
from chatlab.launch.program import scale

LIMIT_SECONDS = 20.0


def until(condition: Callable[[], object], what: str) -> object:
    """The first true value of condition(); fails after 20 s (scaled) with `what` was waited for."""
    deadline = time.monotonic() + LIMIT_SECONDS * scale()
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)
    return value


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"


def running(words: str) -> list[int]:
    """The living processes whose command line holds these words."""
    return [pid for pid in procfs.processes() if words in procfs.command_line(pid) and alive(pid)]

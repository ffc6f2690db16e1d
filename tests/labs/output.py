"""Programs whose standard output takes nothing more, each as a process of its own.

Each function returns the exit status and what was on standard error. They come back at the end of file on standard
error, whose writing end every process of the program has: so a child that stays behind is a TimeoutExpired.
"""

import os
import subprocess
import sys
from pathlib import Path

from chatlab.launch.program import clean_environment, scale

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 30.0


def onto_a_full_disk(*program: str) -> tuple[int, str]:
    """Its standard output is /dev/full: every write fails with ENOSPC, full(4)."""
    with open("/dev/full", "w") as full:
        return _ended(_start(program, full))


def to_a_reader_of(count: int, *program: str) -> tuple[int, str]:
    """Its standard output is a pipe, whose reader leaves after so many bytes: from then on writes fail with EPIPE."""
    reading, writing = os.pipe()
    if not count:
        os.close(reading)
    process = _start(program, writing)
    os.close(writing)
    if count:
        os.read(reading, count)
        os.close(reading)
    return _ended(process)


def closed(*program: str) -> tuple[int, str]:
    """It has no standard output at all, as after `>&-` in a shell."""
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *_command(program)]
    return _ended(_popen(command, None))


def no_space(program: str) -> str:
    return f"{Path(program).name}: cannot go on: No space left on device\n"


def is_closed(program: str) -> str:
    return f"{Path(program).name}: standard output is closed\n"


def _command(program: tuple[str, ...]) -> list[str]:
    return [sys.executable, *program]


def _start(program: tuple[str, ...], output) -> subprocess.Popen:
    return _popen(_command(program), output)


def _popen(command: list[str], output) -> subprocess.Popen:
    return subprocess.Popen(
        command, cwd=ROOT, env=clean_environment({}), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def _ended(process: subprocess.Popen) -> tuple[int, str]:
    with process:
        try:
            errors = process.communicate(timeout=LIMIT_SECONDS * scale())[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise
    return process.returncode, errors

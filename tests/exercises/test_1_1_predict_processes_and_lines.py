"""The judge of exercise 1.1: each prediction against a run of the program, made here and now."""

import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Callable

import pytest

from chatlab.launch.program import clean_environment

pytestmark = pytest.mark.exercise("1.1")

PROGRAM = """\
import os

print("begin")
for number in range(2):
    if os.fork() == 0:
        print("born")
    else:
        print("forked")
print("end")
"""


def run_program(output: int) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], stdout=output, env=clean_environment(), check=True)


def count_processes() -> int:
    return run_on_a_terminal().count("end")  # every process says it once


def lines_on_a_terminal() -> int:
    return len(run_on_a_terminal())


def run_on_a_terminal() -> list[str]:
    """What every process of the program writes to a terminal: read until the last of them has closed it."""
    terminal, for_program = pty.openpty()
    try:
        run_program(for_program)
    finally:
        os.close(for_program)
    text = b""
    try:
        while chunk := os.read(terminal, 4096):
            text += chunk
    except OSError:  # EIO: nobody has the terminal open any more
        pass
    os.close(terminal)
    return text.decode().splitlines()


def lines_in_a_file() -> int:
    """How many lines every process of the program writes to a file; a pipe tells when the last of them has ended."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile("w+") as file:
        subprocess.run(
            [sys.executable, "-c", PROGRAM], stdout=file, env=clean_environment(), pass_fds=[writing], check=True
        )
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        file.seek(0)
        return len(file.read().splitlines())


def compared(student, name: str, count: Callable[[], int], what: str, mistakes: dict[int, str]) -> dict:
    """The prediction beside what a run shows, as arguments for `should`; the number itself is left to be found.

    count runs the program and returns the real number.
    """
    predicted = student.get(name)
    if type(predicted) is not int:
        return {"ok": False, "should": f"set {name} to a whole number", "but": f"it is {predicted!r}"}
    student.step(f"run the program, and count the {what}")
    real = count()
    return {
        "ok": predicted == real,
        "should": f"be the number of {what} of a real run",
        "but": f"the run has {'more' if real > predicted else 'fewer'} than {predicted}",
        "mistake": mistakes.get(
            predicted, "a process left out or counted twice: draw a tree with a branch at each fork"
        ),
    }


def test_processes(student):
    """The number of processes."""
    mistakes = {
        3: "a child counted as if it left the loop: it goes on, and forks in its turn",
        2: "one fork counted: the loop forks in two turns",
        6: "forks added up instead of processes: each fork makes one process out of the one that called it",
        8: "a third doubling: the loop has two turns",
    }
    student.should(**compared(student, "PROCESSES", count_processes, "processes", mistakes), read="Copies")


def test_lines_on_a_terminal(student):
    """The number of lines on a terminal."""
    mistakes = {
        16: "`begin` counted for every process: on a terminal it is written before the first fork, once",
        8: "a turn of the loop left out: each process that forks prints a line, and each that is born prints one",
    }
    found = compared(student, "LINES_ON_A_TERMINAL", lines_on_a_terminal, "lines on a terminal", mistakes)
    student.should(**found, read="Buffers")


def test_lines_in_a_file(student):
    """The number of lines in a file."""
    mistakes = {
        11: "the buffer forgotten: for a file, what was printed before a fork is copied by it",
        4: "only `end` counted: each process writes all that its buffer holds, copied text too",
    }
    found = compared(student, "LINES_IN_A_FILE", lines_in_a_file, "lines in a file", mistakes)
    student.should(**found, read="Buffers")

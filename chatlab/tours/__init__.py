"""The stories that `chatlab lab N` tells: a lab's real programs, run one after the other, with a caption for each.

A tour is data: `lab_NN.TOUR`, a list of steps. A step is a caption and a command line that a student could type too;
its real output follows. A `Traced` step calls a function that launches a program under the tracer; a table shows which
process held which descriptor, and when.
"""

import importlib
import importlib.util
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from chatlab.course import Course
from chatlab.launch import LaunchError, run
from chatlab.trace import Trace

STEP_SECONDS = 30.0
CAPTION = "bold"
COMMAND = "cyan"
SAMPLED = (
    "Each time is that of a look: what was open between two looks only, as a copy closed right after fork, is missing"
)
WITHOUT_STRACE = "strace is missing: this table is sampled from /proc, and misses what is short (make doctor: the cure)"


@dataclass(frozen=True)
class Run:
    """A program that ends by itself. command: as a student types it, from the course's root."""

    caption: str
    command: str


@dataclass(frozen=True)
class Scene:
    """What a traced scene was. by_hand: the commands with which a student has the same; log: its standard error."""

    by_hand: tuple[str, ...]
    log: str
    trace: Trace


@dataclass(frozen=True)
class Traced:
    """A traced scene and its table. kinds: of the descriptors in it; after: what an exact table shows, in words."""

    caption: str
    scene: Callable[[], Scene]
    kinds: tuple[str, ...]
    after: str


Tour = list[Run | Traced]


def find(number: int) -> Tour | None:
    """The tour of a lab; None while it is not built."""
    name = f"chatlab.tours.lab_{number:02}"
    return importlib.import_module(name).TOUR if importlib.util.find_spec(name) else None


def play(tour: Tour, course: Course, number: int, say: Callable) -> None:
    """Tell a tour. say(text, style) prints. Raises LaunchError when a program does not do its part."""
    lab = course.lab(number)
    say(f"Lab {number}: {lab.title}", CAPTION)
    for step in tour:
        say()
        say(step.caption, CAPTION)
        if isinstance(step, Run):
            _play_run(step, say)
        else:
            _play_traced(step, say)
    say()
    say(f"Read on in {lab.handout}; then: make notebook, and make check-{number} for your own answers.", CAPTION)


def _play_run(step: Run, say: Callable) -> None:
    say(f"$ {step.command}", COMMAND)
    _python, program, *arguments = shlex.split(step.command)
    done = run(program, *arguments, timeout=STEP_SECONDS)
    for text in (done.output, done.log):
        if text.strip():
            say(text.strip("\n"))
    if done.returncode:
        raise LaunchError(f"`{step.command}` ended with status {done.returncode}")


def _play_traced(step: Traced, say: Callable) -> None:
    from chatlab.tours import table

    scene = step.scene()
    for command in scene.by_hand:
        say(f"$ {command}", COMMAND)
    if scene.log.strip():
        say(scene.log.rstrip())
    if not scene.trace.exact:
        say(WITHOUT_STRACE)
    lines = table.descriptors(scene.trace, step.kinds)
    for line in lines or ["(nothing lived long enough to be seen)"]:
        say(line)
    if lines:
        say(step.after if scene.trace.exact else SAMPLED)

"""`chatlab watch`: judge the exercise being edited at each save.

A change of a file is only a doorbell: what changed is found by comparing each exercise's source with what it was, so
that a lost event, or two saves at once, do no harm.
"""

from dataclasses import dataclass

import watchfiles

from chatlab import progress
from chatlab.cli.say import say
from chatlab.cli.verdicts import WORK, Standing, judge_and_say, say_bar
from chatlab.course import Course, Exercise, Lab

LOOK_MILLISECONDS = 500


@dataclass(frozen=True)
class Change:
    """What a save changed: the exercises, or what is wrong with the file."""

    exercises: tuple[Exercise, ...] = ()
    trouble: str = ""


class Source:
    """A lab's exercises.py as it was when last looked at."""

    def __init__(self, course: Course, lab: Lab):
        self._exercises = course.exercises_of(lab.number)
        self._path = progress.source_path(course.root / WORK, lab)
        self._name = f"{WORK}/{lab.folder}/{self._path.name}"
        self._digests = progress.digests_of(course, course.root / WORK, lab)
        self._state = self._look()

    def change(self) -> Change | None:
        """What changed since the last time; None when the file is as it was, or only its layout differs."""
        state = self._look()
        if state == self._state:
            return None
        self._state = state
        try:
            now = progress.digests(self._path.read_text(encoding="utf-8"), self._exercises)
        except FileNotFoundError:
            return Change(trouble=f"{self._name} is gone")
        except OSError as error:
            return Change(trouble=f"{self._name} cannot be read: {error.strerror}")
        except SyntaxError as error:
            return Change(trouble=f"{self._name}, line {error.lineno}: {error.msg}; waiting for the next save")
        except ValueError as error:
            return Change(trouble=f"{self._name} is not Python: {error}")
        changed = tuple(exercise for exercise in self._exercises if now[exercise.id] != self._digests.get(exercise.id))
        self._digests = now
        return Change(changed) if changed else None

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def watch(course: Course) -> None:
    """Judge what is edited, until ^C."""
    sources = [Source(course, lab) for lab in course.labs if course.exercises_of(lab.number)]
    say_bar(course, Standing(course))
    try:
        _follow(course, sources)
    except KeyboardInterrupt:
        say("watch ended")


def _follow(course: Course, sources: list[Source]) -> None:
    watching = False
    # The first turn, with or without an event, comes once the kernel watches: only then is it true to say so.
    for _ in watchfiles.watch(course.root / WORK, rust_timeout=LOOK_MILLISECONDS, yield_on_timeout=True):
        if not watching:
            watching = True
            say(f"watching {WORK}/: save an exercises.py and its exercise is judged; ^C ends")
        for source in sources:
            change = source.change()
            if change is not None:
                _tell(course, change)


def _tell(course: Course, change: Change) -> None:
    say()
    if change.trouble:
        say(change.trouble, "yellow")
        return
    judge_and_say(course, (course.root / WORK).resolve(), change.exercises)
    say_bar(course, Standing(course))

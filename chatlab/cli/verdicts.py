"""Verdicts as a person reads them: said as they come, remembered, and seen as progress through the course."""

import os
from pathlib import Path

from chatlab.cli.say import Failure, complain, console, say, short
from chatlab.course import Course, Exercise
from chatlab.judge.verdicts import NOT_STARTED, PASSED, Verdict
from chatlab.progress import Kept, Store, digests_of

WORK = "labs"
BAR_CELLS = 25
STALE = "changed since"
STYLES = {PASSED: "green", NOT_STARTED: "yellow"}


def judge_and_say(course: Course, work: Path, exercises: tuple[Exercise, ...]) -> list[Verdict]:
    """Judge, print each verdict's line as it comes and then the feedback, remember the student's own; the verdicts."""
    from chatlab import judge
    from chatlab.launch.program import scale
    from chatlab.why import kept_folder

    scale()  # a CHATLAB_TIME_SCALE that is no number is one line here, and would be the judge's fault later

    own = work == (course.root / WORK).resolve()
    # Before the judge reads the file: a save meanwhile makes the verdict stale, never a stale one fresh.
    digests = {lab: digests_of(course, work, lab) for lab in dict.fromkeys(exercise.lab for exercise in exercises)}
    store = Store(course.root, complain)
    waiting = {exercise.id: exercise for exercise in exercises}
    with console().status("") as status:

        def next_one() -> None:
            status.update(f"judging {next(iter(waiting.values())).label}" if waiting else "")

        def heard(verdict: Verdict) -> None:
            exercise = waiting.pop(verdict.exercise_id)
            say(verdict.line, STYLES.get(verdict.verdict, "red"))
            digest = digests[exercise.lab].get(exercise.id)
            if own and digest:
                store.keep_verdict(exercise.id, verdict.verdict, verdict.points, digest)
            next_one()

        next_one()
        verdicts = judge.run(
            work,
            [exercise.id for exercise in exercises],
            on_verdict=heard,
            keep_traces=_writable(kept_folder(course.root)) if own else None,
            root=course.root,
        )
    for verdict in verdicts:
        if verdict.feedback and verdict.verdict != NOT_STARTED:
            say()
            say(verdict.feedback.rstrip())
    return verdicts


def _writable(folder: Path) -> Path | None:
    """The folder, or None where it cannot be made and filled, as in a read-only checkout."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    return folder if os.access(nearest, os.W_OK) else None


def say_progress(course: Course) -> None:
    """Print each lab's exercises with their last verdicts, and the course's bar."""
    known = Standing(course)
    for lab in course.labs:
        exercises = course.exercises_of(lab.number)
        points = sum(known.points(exercise) for exercise in exercises)
        say(f"lab {lab.number}  {lab.title}" + (f"  {points}/{lab.points}" if exercises else "  not built yet"), "bold")
        for exercise in exercises:
            words, style = known.words(exercise)
            say(f"  {exercise.label:<34}{known.points(exercise):>2}/{exercise.points}  {words}", style)
    say_bar(course, known)


class Standing:
    """What is known of each exercise: its kept verdict, and whether the student's file still is what was judged."""

    def __init__(self, course: Course):
        self.kept: dict[str, Kept] = Store(course.root, complain).verdicts()
        self._now = {}
        for lab in course.labs:
            self._now |= digests_of(course, course.root / WORK, lab)

    def is_stale(self, exercise: Exercise) -> bool:
        """Whether the exercise has changed since its verdict."""
        kept = self.kept.get(exercise.id)
        return kept is not None and kept.digest != self._now.get(exercise.id)

    def points(self, exercise: Exercise) -> int:
        """The points of a verdict that still holds, else 0."""
        kept = self.kept.get(exercise.id)
        return 0 if kept is None or self.is_stale(exercise) else min(kept.points, exercise.points)

    def is_done(self, exercise: Exercise) -> bool:
        """Whether it has all its points."""
        return self.points(exercise) == exercise.points

    def words(self, exercise: Exercise) -> tuple[str, str | None]:
        """What is known, in words, and the style to print them in."""
        kept = self.kept.get(exercise.id)
        if kept is None:
            return "not judged yet", "dim"
        if self.is_stale(exercise):
            return f"{kept.verdict}, {STALE}", "yellow"
        return kept.verdict, STYLES.get(kept.verdict, "red")


def say_bar(course: Course, known: Standing) -> None:
    """Print how far the student is through what is built, and which exercise comes next."""
    done = [exercise for exercise in course.exercises if known.is_done(exercise)]
    points, of = sum(exercise.points for exercise in done), sum(exercise.points for exercise in course.exercises)
    cells = BAR_CELLS * points // of if of else 0
    count = f"{points}/{of} points, {len(done)} of {len(course.exercises)} exercises"
    say(f"[{'#' * cells}{'.' * (BAR_CELLS - cells)}] {count}")
    following = next((exercise for exercise in course.exercises if not known.is_done(exercise)), None)
    if following:
        say(f"next: {following.label}, in {WORK}/{following.lab.folder}/exercises.py")
    else:
        say("All that is built is done.")


def explain(course: Course, exercise: Exercise) -> None:
    """Draw the kept trace of a failed check beside the reference's, and say where the picture is."""
    from chatlab.why import WhyError, feedback, picture, why

    try:
        say(feedback(exercise.id, course.root).rstrip())
        why(exercise.id, root=course.root)
    except WhyError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        place = short(Path(error.filename), course.root) if error.filename else "the picture"
        raise Failure(f"{place} cannot be written: {error.strerror}") from None
    say(f"picture: {short(picture(exercise.id, course.root), course.root)}")

"""The commands of a student at work: lab, check, hint, why, watch, progress."""

from pathlib import Path
from typing import Annotated

import typer

from chatlab import course as courses
from chatlab.cli.say import Failure, Misuse, app, complain, not_built, say, short
from chatlab.course import Course, Exercise

WORK = "labs"
EX = Annotated[str | None, typer.Argument(metavar="EX", help="An exercise, such as 1.2.")]


@app.command()
def lab(number: Annotated[int, typer.Argument(metavar="N", help="The lab: 1 to 6.")]) -> None:
    """Tell a lab's story with its real programs."""
    from chatlab import tours

    course = courses.load()
    wanted = course.lab(number)
    tour = tours.find(number)
    if tour is None:
        not_built(f"lab {number}, {wanted.title},", f"it comes with stage {number} of the course")
    tours.play(tour, course, number, say)


@app.command()
def check(
    what: Annotated[str | None, typer.Argument(metavar="[N|EX]", help="A lab (1) or an exercise (1.2).")] = None,
    work: Annotated[str, typer.Option(metavar="DIR", help="The folder with NN_topic/exercises.py.")] = WORK,
) -> None:
    """Judge exercises: all, a lab's, or one. The status is 0 when all get full points."""
    from chatlab.cli.verdicts import judge_and_say

    course = courses.load()
    exercises = course.select(what)
    verdicts = judge_and_say(course, _work_folder(course, work, exercises), exercises)
    points, of = sum(verdict.points for verdict in verdicts), sum(exercise.points for exercise in exercises)
    if len(exercises) > 1:
        say(f"sum  {points}/{of}")
    raise typer.Exit(0 if points == of else 1)


@app.command()
def hint(
    ex: EX = None,
    level: Annotated[int | None, typer.Option(min=1, help="This hint, instead of the next one.")] = None,
) -> None:
    """Show an exercise's next hint; each is stronger than the one before."""
    from chatlab.progress import Store

    course = courses.load()
    exercise = _one_exercise(course, ex, "hint")
    store = Store(course.root, complain)
    last = len(exercise.hints)
    seen = store.hints_seen(exercise.id)
    if level is not None and level > last:
        raise Misuse(f"exercise {exercise.id} has {last} hints, no hint {level}")
    number = level or min(seen + 1, last)
    say(f"{exercise.label}, hint {number} of {last}", "bold")
    say(f"  {exercise.hints[number - 1]}")
    if level is None and seen >= last:
        say(f"There are no further hints. Read {exercise.lab.handout}")
    store.keep_hints_seen(exercise.id, max(seen, number))


@app.command()
def why(ex: EX = None) -> None:
    """Show the trace of an exercise's failed check beside the reference's."""
    from chatlab.cli.verdicts import explain

    course = courses.load()
    explain(course, _one_exercise(course, ex, "why"))


@app.command()
def watch() -> None:
    """Judge the exercise being edited at each save, until ^C."""
    from chatlab.watch import watch as keep_watching

    keep_watching(courses.load())


@app.command()
def progress() -> None:
    """Show what is done, and what comes next."""
    from chatlab.cli.verdicts import say_progress

    say_progress(courses.load())


def _one_exercise(course: Course, ex: str | None, command: str) -> Exercise:
    if not ex:
        raise Misuse(f"name an exercise: chatlab {command} 1.2, or make {command} EX=1.2")
    return course.exercise(ex)


def _work_folder(course: Course, work: str, exercises: tuple[Exercise, ...]) -> Path:
    """The folder that a person means by --work: from where she is, else from the course's root."""
    folder = next((place for place in (Path.cwd() / work, course.root / work) if place.is_dir()), None)
    if folder is None:
        raise Misuse(f"--work {work}: there is no such folder")
    for one in dict.fromkeys(exercise.lab for exercise in exercises):
        path = folder / one.folder / courses.EXERCISES
        if not path.is_file():
            name = short(path, course.root)
            cure = f": git restore {name} brings it back" if folder == course.root / WORK else ""
            raise Failure(f"{name} is not there{cure}")
    return folder.resolve()

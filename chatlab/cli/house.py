"""The commands about the house: doctor, stress, clean."""

from typing import Annotated

import typer

from chatlab import course as courses
from chatlab.cli.say import app, complain, say, short

# Without them the kit falls back, to sampling and to a weaker sandbox.
FALLBACKS = ("strace", "bubblewrap")


@app.command()
def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Take strace and bubblewrap as needed.")] = False,
) -> None:
    """Say what this machine has, and the cure for what it lacks. The status is 0 when all that is needed is there."""
    from chatlab import doctor as looks

    bad = False
    for found in looks.findings():
        needed = found.needed or (strict and found.name in FALLBACKS)
        word, style = ("OK", "green") if found.ok else ("MISSING", "red") if needed else ("without", "yellow")
        say(f"{word:<8} {found.name:<16} {found.words}" + ("" if found.ok else f": {found.cure}"), style)
        bad = bad or (needed and not found.ok)
    say("Something that the course needs is missing." if bad else "Everything that the course needs is there.")
    raise typer.Exit(1 if bad else 0)


@app.command()
def stress(
    tests: Annotated[list[str] | None, typer.Argument(help="What pytest is to run (default: labs and kit).")] = None,
    times: Annotated[int, typer.Option(min=1, max=10_000, help="How many runs.")] = 20,
    scale: Annotated[float, typer.Option(min=1, max=100, help="CHATLAB_TIME_SCALE of the runs.")] = 4,
) -> None:
    """Run tests many times while both cores are loaded. The status is 0 when every run passed."""
    from chatlab.stress import runs

    root = courses.find_root()
    failed = 0
    for run in runs(root, tests or ["tests/labs", "tests/kit"], times, scale):
        last = run.output.strip().splitlines()[-1:] or ["pytest said nothing"]
        say(f"run {run.number}/{times}  {'passed' if run.ok else 'FAILED'}  {run.seconds:.1f} s  {last[0]}")
        if not run.ok:
            failed += 1
            say(f"  all that it said: {short(run.log, root)}")
    say(f"{times - failed} of {times} runs passed while every core was loaded")
    raise typer.Exit(1 if failed else 0)


@app.command()
def clean(
    environment: Annotated[bool, typer.Option("--environment", help="Remove .venv and .venvs too.")] = False,
) -> None:
    """Remove what tools left behind. Your exercises, your progress and (without --environment) .venv stay."""
    from chatlab.clean import remove

    root = courses.find_root()
    removed, kept = remove(root, environment=environment)
    for path, error in kept:
        complain(f"{short(path, root)} stays: {error.strerror}")
    say(f"removed {len(removed)} files and folders that tools had made")
    raise typer.Exit(1 if kept else 0)

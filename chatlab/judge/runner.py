"""Judge exercises from Python: pytest in a process of its own, verdicts as they come."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from chatlab import course as courses
from chatlab.judge import verdicts
from chatlab.judge.verdicts import CheckResult, Verdict, combine


def seed_from_environment() -> int | None:
    """CHATLAB_SEED, or None when it is not set. Raises CourseError."""
    text = os.environ.get("CHATLAB_SEED", "")
    if text and not text.isdigit():
        raise courses.CourseError(f"CHATLAB_SEED is {text!r}: set it to a whole number, or not at all")
    return int(text) if text else None


def run(
    work: str | os.PathLike = "labs",
    exercises: Iterable[str] | None = None,
    *,
    check: str | None = None,
    on_verdict: Callable[[Verdict], None] | None = None,
    keep_traces: Path | None = None,
    keep_all: bool = False,
    seed: int | None = None,
    root: Path | None = None,
) -> list[Verdict]:
    """Judge exercises of one work folder.

    Arguments: work, the folder with NN_topic/exercises.py, from the course's root or absolute; exercises, ids such as
    "1.2" (default: all); check, the name of the only check to run; on_verdict, called with each exercise's Verdict as
    soon as it is known; keep_traces, a folder for the traces of checks that did not pass (keep_all: of all), from which
    an exercise that passes is removed; seed for the random values; root of the course. Returns the Verdicts in the
    course's order. Raises CourseError.
    A check without a result is the judge's fault, never a pass.
    """
    seed_from_environment()  # a bad one is told here, not by a pytest that does not start
    course = courses.load(root or courses.find_root())
    chosen = list(course.exercises) if exercises is None else [course.exercise(wanted) for wanted in exercises]
    results: dict[str, list[CheckResult]] = {exercise.id: [] for exercise in chosen}
    expected: dict[str, int] = {}
    told: dict[str, Verdict] = {}

    def tell(exercise) -> None:
        told[exercise.id] = combine(exercise, results[exercise.id], expected.get(exercise.id, 0))
        if on_verdict is not None:
            on_verdict(told[exercise.id])

    for entry in _entries(course, work, chosen, check, keep_traces, keep_all, seed):
        if "collected" in entry:
            expected.update(entry["collected"])
            continue
        result = CheckResult(**entry)
        _add(results[result.exercise_id], result)
        # The last check's tear-down may still have something to say; it is told with the others, at the end.
        if len(results[result.exercise_id]) == expected.get(result.exercise_id) and result.exercise_id not in told:
            tell(course.exercise(result.exercise_id))
    for exercise in chosen:
        if exercise.id not in told or combine(exercise, results[exercise.id]).verdict != told[exercise.id].verdict:
            tell(exercise)
    if keep_traces is not None and not keep_all and check is None:
        _forget_passed(told, keep_traces)
    return [told[exercise.id] for exercise in chosen]


def _forget_passed(told: dict[str, Verdict], keep_traces: Path) -> None:
    """An exercise that has passed has no failure any more: `chatlab why` must not tell an old one as if it were new."""
    for exercise_id, verdict in told.items():
        if verdict.verdict == verdicts.PASSED:
            shutil.rmtree(Path(keep_traces) / exercise_id, ignore_errors=True)


def _add(results: list[CheckResult], result: CheckResult) -> None:
    """A check that fails in its tear-down has two results: the worse one counts."""
    for place, other in enumerate(results):
        if other.name == result.name:
            results[place] = min(other, result, key=lambda entry: verdicts.SEVERITY.index(entry.verdict))
            return
    results.append(result)


def _entries(course, work, chosen, check, keep_traces, keep_all, seed):
    """Run pytest over the exercises' judges, and yield what the plugin writes of it, as it comes."""
    files = [str(exercise.judge) + (f"::{check}" if check else "") for exercise in chosen]
    if not files:
        return
    with tempfile.TemporaryDirectory(prefix="chatlab-run-") as folder:
        fifo = Path(folder, "verdicts")
        os.mkfifo(fifo)
        command = [
            sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider",
            "--work", str(work), "--verdicts", str(fifo),
        ]  # fmt: skip
        if keep_traces is not None:
            command += ["--keep-traces", str(keep_traces), *(["--keep-all"] if keep_all else [])]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment["CHATLAB_JUDGED_BY"] = str(os.getpid())
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a judge needs ours alone: a second less to wait
        if seed is not None:
            environment["CHATLAB_SEED"] = str(seed)
        # Opened for both, so that neither the opening nor the reading waits for a pytest that never starts.
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        with (
            open(Path(folder, "log"), "wb+") as log,
            subprocess.Popen(
                [*command, *files], cwd=course.root, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            ) as process,
            os.fdopen(reader, encoding="utf-8") as lines,
        ):
            yield from _lines(lines, process)
            process.wait()
            if process.returncode not in (0, 1):
                log.seek(0)
                text = log.read().decode("utf-8", "replace")[-3000:]
                for exercise in chosen:
                    yield _fault(exercise, f"the judge did not run (status {process.returncode}):\n{text}")


def _lines(lines, process):
    """The objects that arrive on the fifo until pytest ends."""
    import select

    buffered = ""
    while True:
        ended = process.poll() is not None
        readable = select.select([lines], [], [], 0.05)[0]
        chunk = os.read(lines.fileno(), 65536).decode("utf-8") if readable else ""
        buffered += chunk
        *whole, buffered = buffered.split("\n")
        for line in whole:
            yield json.loads(line)
        if ended and not chunk:
            return


def _fault(exercise, text: str) -> dict:
    headline = f"{exercise.id} {exercise.title}: this is not your mistake; please report it: {text}"
    return CheckResult(exercise.id, "pytest", "the judge runs", verdicts.FAULT, headline, 0.0).as_dict()

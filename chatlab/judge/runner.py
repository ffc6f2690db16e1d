"""Judge exercises from Python: pytest in a process of its own, verdicts as they come."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from chatlab import course as courses
from chatlab.judge import verdicts
from chatlab.judge.verdicts import CheckResult, Verdict, combine
from chatlab.judge.warm import WarmPytest


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
    warm: bool = False,
) -> list[Verdict]:
    """Judge exercises of one work folder.

    Arguments: work, the folder with NN_topic/exercises.py, from the course's root or absolute; exercises, ids such as
    "1.2" (default: all); check, the name of the only check to run; on_verdict, called with each exercise's Verdict as
    soon as it is known; keep_traces, a folder for the traces of checks that did not pass (keep_all: of all), from which
    an exercise that passes is removed; seed for the random values; root of the course; warm, for callers that judge
    again and again: a pytest that stays imported meanwhile does it. Returns the Verdicts in the course's order. Raises
    CourseError.
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

    for entry in _entries(course, work, chosen, check, keep_traces, keep_all, seed, warm):
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


def _entries(course, work, chosen, check, keep_traces, keep_all, seed, warm):
    """Run pytest over the exercises' judges, and yield what the plugin writes of it, as it comes."""
    files = [str(exercise.judge) + (f"::{check}" if check else "") for exercise in chosen]
    if not files:
        return
    with tempfile.TemporaryDirectory(prefix="chatlab-run-") as folder:
        fifo = Path(folder, "verdicts")
        os.mkfifo(fifo)
        arguments = ["-q", "--no-header", "-p", "no:cacheprovider", "--work", str(work), "--verdicts", str(fifo)]
        arguments += ["--tb=native"]  # for the log of what goes wrong in a judge; quicker than pytest's own
        if keep_traces is not None:
            arguments += ["--keep-traces", str(keep_traces), *(["--keep-all"] if keep_all else [])]
        start = WarmPytest.start if warm else _ColdPytest
        # Opened for both, so that neither the opening nor the reading waits for a pytest that never starts.
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        with open(Path(folder, "log"), "wb+") as log, os.fdopen(reader, "rb", buffering=0) as lines:
            pytest = start([*arguments, *files], folder=course.root, environment=_environment(seed), log=log.fileno())
            try:
                yield from _objects(lines, pytest)
            finally:
                status = pytest.wait()
            if status not in (0, 1):
                log.seek(0)
                text = log.read().decode("utf-8", "replace")[-3000:]
                for exercise in chosen:
                    yield _fault(exercise, f"the judge did not run (status {status}):\n{text}")


def _environment(seed: int | None) -> dict[str, str]:
    """Ours, without what a pytest around us has left in it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a judge needs ours alone: a second less to wait
    if seed is not None:
        environment["CHATLAB_SEED"] = str(seed)
    return environment


class _ColdPytest:
    """A pytest started anew, as `WarmPytest` shows one."""

    def __init__(self, arguments: list[str], *, folder: Path, environment: dict[str, str], log: int):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=folder,
            env={**environment, "CHATLAB_JUDGED_BY": str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self._ended = os.pidfd_open(self._process.pid)

    def fileno(self) -> int:
        return self._ended

    def wait(self) -> int:
        status = self._process.wait()
        os.close(self._ended)
        return status


def _objects(lines, pytest):
    """The objects that arrive on the fifo until pytest ends."""
    buffered, sources, ended = b"", [lines, pytest], False
    while not ended:
        ready = select.select(sources, [], [])[0]
        ended = pytest in ready
        # None: there has not been a writer yet, or nothing is left. Empty: the plugin has said its last.
        while chunk := lines.read(65536):
            buffered += chunk
        if chunk == b"" and lines in ready:
            sources = [pytest]
        *whole, buffered = buffered.split(b"\n")
        for line in whole:
            yield json.loads(line)


def _fault(exercise, text: str) -> dict:
    headline = f"{exercise.id} {exercise.title}: this is not your mistake; please report it: {text}"
    return CheckResult(exercise.id, "pytest", "the judge runs", verdicts.FAULT, headline, 0.0).as_dict()

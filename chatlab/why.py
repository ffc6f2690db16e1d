"""Why a check failed: its kept trace as a sequence chart, with the same check over the reference beside it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from chatlab import course

FIRST_CALL = r"{\"do\": \"call\""  # as strace quotes it
DETAILS = {"exercise", "check", "title", "seed", "ended", "feedback"}
SIDE_INCHES = 7.5
MOST_INCHES = 14.0


class WhyError(Exception):
    """There is nothing to show: one clear line."""


@dataclass(frozen=True)
class Kept:
    """One kept check. details: exercise, check, title, seed, work, feedback; strace: the trace's path."""

    details: dict
    strace: Path

    @classmethod
    def load(cls, folder: Path) -> "Kept":
        """From the folder that the judge kept it in. Raises OSError, ValueError."""
        details = json.loads((folder / "check.json").read_text())
        if missing := DETAILS - details.keys():
            raise ValueError(f"no {sorted(missing)}: kept by another version of the kit")
        return cls(details, folder / "strace")


def kept_folder(root: Path | None = None) -> Path:
    """Where the traces of failed checks are kept."""
    return (root or course.find_root()) / ".chatlab" / "why"


def why(exercise_id: str, *, root: Path | None = None):
    """Draw a failed check of an exercise beside the same check over the solution.

    Returns the matplotlib Figure; `.chatlab/why/EX/why.png` holds it too. Raises WhyError, CourseError.
    """
    root = root or course.find_root()
    exercise = course.load(root).exercise(exercise_id)
    failed = _failed(kept_folder(root) / exercise.id, exercise)
    reference = _reference(root, exercise, failed)
    figure = _draw(failed, reference)
    figure.savefig(picture(exercise_id, root), dpi=110, bbox_inches="tight")
    return figure


def picture(exercise_id: str, root: Path | None = None) -> Path:
    """The path of the picture that `why` makes."""
    return kept_folder(root) / exercise_id / "why.png"


def feedback(exercise_id: str, root: Path | None = None) -> str:
    """What the failed check said."""
    root = root or course.find_root()
    exercise = course.load(root).exercise(exercise_id)
    return _failed(kept_folder(root) / exercise.id, exercise).details["feedback"]


def _failed(folder: Path, exercise) -> Kept:
    again = f"run `make check-{exercise.lab.number}` first"
    try:
        kept = Kept.load(folder)
    except FileNotFoundError:
        raise WhyError(f"no failed check of exercise {exercise.id} is kept: {again}") from None
    except (OSError, ValueError):
        raise WhyError(f"the kept check of exercise {exercise.id} cannot be read: {again}") from None
    if not kept.strace.is_file():
        raise WhyError(f"the failed check of exercise {exercise.id} has no trace: install strace, then {again}")
    return kept


def _reference(root: Path, exercise, failed: Kept) -> Kept | None:
    """The same check over the solution, with the same random values; None where there is no solution to run."""
    if not (root / "solutions" / exercise.lab.folder / "exercises.py").is_file():
        return None
    from chatlab.judge.runner import run

    folder = root / ".chatlab" / "why-reference"
    details = failed.details
    run(
        root / "solutions",
        [exercise.id],
        check=details["check"],
        keep_traces=folder,
        keep_all=True,
        seed=details["seed"],
        root=root,
    )
    try:
        return Kept.load(folder / exercise.id)
    except (OSError, ValueError):
        return None


def _story(kept: Kept):
    """The part of a kept trace from the judge's first call to its end, without the judge's channel.

    The judge ends what is left then: that end is no part of the story, so such processes have none.
    """
    from chatlab.judge.student import CHANNEL_DESCRIPTOR
    from chatlab.trace import Trace

    whole = Trace.read(kept.strace)
    calls = [call.time for call in whole.calls if call.fd == CHANNEL_DESCRIPTOR and FIRST_CALL in call.text]
    ended = min(kept.details["ended"] - whole.start, whole.end)
    story = whole.without(fds={CHANNEL_DESCRIPTOR}).quiet().between(calls[0] if calls else whole.begin, ended)
    return replace(
        story,
        calls=[_unless_woken_by_judge(call, ended) for call in story.calls],
        processes=[_unless_ended_by_judge(process, ended) for process in story.processes],
        descriptors=[_unless_closed_by_judge(descriptor, ended) for descriptor in story.descriptors],
    )


def _unless_woken_by_judge(call, ended: float):
    """A call that came back only because the judge ended its process still waits when the story ends."""
    if call.time + call.duration < ended:
        return call
    return replace(call, duration=ended - call.time, result=None, error=None)


def _unless_ended_by_judge(process, ended: float):
    if process.end is None or process.end < ended:
        return process
    return replace(process, end=None, status=None, signal=None)


def _unless_closed_by_judge(descriptor, ended: float):
    return descriptor if descriptor.closed is None or descriptor.closed < ended else replace(descriptor, closed=None)


def _draw(failed: Kept, reference: Kept | None):
    """Sequence charts above, descriptor timelines beneath; the student's to the left, the reference's to the right."""
    from matplotlib.figure import Figure

    from chatlab import plot

    sides = [("your code", _story(failed))]
    if reference is not None:
        sides.append(("the reference", _story(reference)))
    heights = [max(_events(trace) for _, trace in sides), max(_rows(trace) for _, trace in sides)]
    figure = Figure(figsize=(SIDE_INCHES * len(sides), sum(heights)), layout="constrained")
    places = figure.subplots(2, len(sides), squeeze=False, height_ratios=heights)
    for column, (whose, trace) in enumerate(sides):
        names = _names(trace)
        plot.sequence_chart(trace, ax=places[0, column], names=names)
        plot.descriptor_timeline(trace, ax=places[1, column], names=names)
        places[0, column].set_title(f"{whose}: messages", loc="left")
        places[1, column].set_title(f"{whose}: descriptors", loc="left")
    details = failed.details
    figure.suptitle(f"{details['exercise']}: {details['title']}")
    return figure


def _events(trace) -> float:
    """Inches that a sequence chart of the trace wants."""
    return min(1.8 + 0.3 * (2 * len(trace.messages) + 3 * len(trace.processes)), MOST_INCHES)


def _rows(trace) -> float:
    """Inches that a descriptor timeline of the trace wants."""
    rows = [record for record in trace.descriptors if record.kind not in ("file", "other")]
    return min(1.4 + 0.25 * (len(rows) + 2 * len(trace.processes)), MOST_INCHES)


def _names(trace) -> dict[int, str]:
    """The student's function runs in the first process of the trace; the others are its children."""
    pids = [process.pid for process in sorted(trace.processes, key=lambda process: process.start)]
    return {pid: f"the function · {pid}" if place == 0 else f"child {pid}" for place, pid in enumerate(pids)}

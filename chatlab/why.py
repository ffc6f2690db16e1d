"""Why a check failed: its kept trace as a sequence chart, with the same check over the reference beside it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from chatlab import course
from chatlab.trace import Descriptor, Trace

FIRST_CALL = r"{\"do\": \"call\""  # as strace quotes it
DETAILS = {"exercise", "check", "title", "seed", "ended", "feedback"}
SIDE_INCHES = 7.2
MOST_INCHES = 12.4
LEAST_ROW_INCHES = 0.17
MOST_ARROWS = 16
NOTE_POINTS = 8
LONG_WITHOUT_CALL = 0.5  # s


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


def _story(kept: Kept) -> tuple[Trace, list[int]]:
    """The part of a kept trace from the judge's first call, its time 0, to its end, without the judge's channel.

    The judge ends what is left then: that end is no part of the story, so such processes have none. With it the pids
    of those that ran without a call.
    """
    from chatlab.judge.wire import CHANNEL_DESCRIPTOR

    whole = Trace.read(kept.strace)
    calls = [call.time for call in whole.calls if call.fd == CHANNEL_DESCRIPTOR and FIRST_CALL in call.text]
    ended = min(kept.details["ended"] - whole.start, whole.end)
    story = whole.without(fds={CHANNEL_DESCRIPTOR}).quiet().between(calls[0] if calls else whole.begin, ended)
    story = replace(
        story,
        calls=[_unless_woken_by_judge(call, ended) for call in story.calls],
        processes=[_unless_ended_by_judge(process, ended) for process in story.processes],
        descriptors=[_unless_closed_by_judge(descriptor, ended) for descriptor in story.descriptors],
    )
    alone = [process.pid for process in story.processes if process.end is None and _is_alone(whole, process.pid, ended)]
    return _since(story, story.begin), alone


def _since(trace: Trace, zero: float) -> Trace:
    """The trace with its times counted from a moment in it (s)."""

    def earlier(record, *times: str):
        moments = {time: getattr(record, time) for time in times}
        return replace(record, **{time: moment - zero for time, moment in moments.items() if moment is not None})

    return replace(
        trace,
        calls=[earlier(call, "time") for call in trace.calls],
        processes=[earlier(process, "start", "end") for process in trace.processes],
        descriptors=[earlier(descriptor, "opened", "closed") for descriptor in trace.descriptors],
        signals=[earlier(signal, "time") for signal in trace.signals],
        messages=[earlier(message, "sent", "received") for message in trace.messages],
        start=trace.start + zero,
        begin=trace.begin - zero,
        end=trace.end - zero,
    )


def _is_alone(whole: Trace, pid: int, ended: float) -> bool:
    """Whether a process was in no call when the check ended, and had been in none for long."""
    ends = [call.time + call.duration for call in whole.calls if call.pid == pid and call.time <= ended]
    return max(ends, default=ended) < ended - LONG_WITHOUT_CALL


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


@dataclass(frozen=True)
class _Side:
    """One side of the figure. whose: its heading; alone: the pids that ran without a call when the check ended."""

    whose: str
    trace: Trace
    alone: list[int]

    @classmethod
    def of(cls, whose: str, kept: Kept) -> "_Side":
        story, alone = _story(kept)
        return cls(whose, story, alone)

    @property
    def names(self) -> dict[int, str]:
        return _names(self.trace)

    @property
    def eventful(self) -> Trace:
        """The trace without the time at its end in which nothing changed."""
        trace = self.trace
        moments = [call.time for call in trace.calls] + [process.start for process in trace.processes]
        moments += [process.end for process in trace.processes if process.end is not None]
        last = max((moment for moment in moments if trace.begin <= moment <= trace.end), default=trace.end)
        return replace(trace, end=min(trace.end, trace.begin + (last - trace.begin) * 1.3 or trace.end))

    def say_time(self, place) -> None:
        """Label the time axis of an Axes that shows the eventful time."""
        label = place.get_xlabel().replace("the trace began", "the call")
        quiet = self.eventful.end < self.trace.end
        place.set_xlabel(label + (f"; from here to {self.trace.end * 1e3:,.0f} ms nothing changes" if quiet else ""))


def _draw(failed: Kept, reference: Kept | None):
    """Sequence charts above, process trees, descriptor timelines; the student's left, the reference's right."""
    from matplotlib.figure import Figure

    sides = [_Side.of("your code", failed)]
    if reference is not None:
        sides.append(_Side.of("the reference", reference))
    timelines = _told_apart([side.eventful for side in sides])
    rows = _rows(sides, timelines)
    heights = [inches for _, inches in rows]
    scale = min(MOST_INCHES / sum(heights), 1.0)
    figure = Figure(figsize=(SIDE_INCHES * len(sides), sum(heights) * scale), layout="constrained")
    places = figure.subplots(len(rows), len(sides), squeeze=False, height_ratios=heights)
    for (draw, inches), line in zip(rows, places, strict=True):
        for place, side, timeline in zip(line, sides, timelines, strict=True):
            draw(place, side, timeline, inches * scale)
    if any(
        len(timeline.descriptors) < len(side.trace.descriptors) for side, timeline in zip(sides, timelines, strict=True)
    ):
        figure.supxlabel("Descriptors that both sides hold alike and never use are not drawn.", fontsize=NOTE_POINTS)
    figure.suptitle(f"{failed.details['exercise']}: {failed.details['title']}")
    return figure


def _rows(sides: list[_Side], timelines: list[Trace]) -> list[tuple]:
    """The figure's rows: what draws one side of it, and the inches it wants."""
    from chatlab.plot import descriptors, processes, sequence

    rows = []
    families = any(len(side.trace.processes) > 1 for side in sides)
    if not families or any(side.alone or sequence.tells(side.trace) for side in sides):
        rows.append((_messages, max(sequence.height(side.trace, MOST_ARROWS) for side in sides)))
    if families:
        rows.append((_processes, max(processes.height(side.trace) for side in sides)))
    rows.append((_descriptors, max(descriptors.height(timeline) for timeline in timelines)))
    return rows


def _messages(place, side: _Side, timeline: Trace, inches: float) -> None:
    from chatlab.plot import sequence_chart

    states = dict.fromkeys(side.alone, "runs, makes no call")
    title = f"{side.whose}: messages"
    sequence_chart(side.trace, ax=place, names=side.names, title=title, most=MOST_ARROWS, states=states)


def _processes(place, side: _Side, timeline: Trace, inches: float) -> None:
    from chatlab.plot import process_tree

    process_tree(side.eventful, ax=place, names=side.names, title=f"{side.whose}: processes", first=0.0)
    side.say_time(place)


def _descriptors(place, side: _Side, timeline: Trace, inches: float) -> None:
    from chatlab.plot import descriptor_timeline, style

    most = int((inches - 1.2) / LEAST_ROW_INCHES)
    title = f"{side.whose}: descriptors"
    descriptor_timeline(timeline, ax=place, names=side.names, title=title, first=0.0, most=most)
    side.say_time(place)
    if not place.chatlab_rows:
        style.note(place, "none but those that both sides hold alike", style.INK)


def _told_apart(traces: list[Trace]) -> list[Trace]:
    """Without the descriptors that both sides hold alike, for as long as their process lives, and never use.

    Such as standard streams. A process that only one side has is compared with nothing: the reference's loses what it
    never uses too, the student's keeps it. When nothing would be left, all is kept.
    """
    if len(traces) == 1:
        return traces
    idle = [_idle(trace) for trace in traces]
    count = min(len(trace.processes) for trace in traces)
    alike = idle[0].keys() & idle[1].keys()
    extra = {key for key in idle[1] if key[0] >= count}
    unsaid = [[idle[0][key] for key in alike], [idle[1][key] for key in alike | extra]]
    told = [
        replace(trace, descriptors=[record for record in trace.descriptors if record not in without])
        for trace, without in zip(traces, unsaid, strict=True)
    ]
    return told if any(trace.descriptors for trace in told) else traces


def _idle(trace: Trace) -> dict[tuple, Descriptor]:
    """(place of the process, number, kind, how it came) → a descriptor held to its process's end without a call."""
    used = {(call.pid, call.fd) for call in trace.calls if call.name != "close"}
    life = {process.pid: (place, process.end) for place, process in enumerate(_in_order(trace))}
    found = {}
    for record in trace.descriptors:
        place, end = life.get(record.pid, (None, None))
        held = record.closed is None or end is not None and record.closed >= end
        # What exec keeps is one descriptor in two records: never the second half alone.
        if place is not None and held and record.how != "exec" and (record.pid, record.fd) not in used:
            found[place, record.fd, record.kind, record.how] = record
    return found


def _in_order(trace: Trace) -> list:
    return sorted(trace.processes, key=lambda process: process.start)


def _names(trace) -> dict[int, str]:
    """The student's function runs in the first process of the trace; the others are its children."""
    pids = [process.pid for process in _in_order(trace)]
    return {pid: f"the function · {pid}" if place == 0 else f"child {pid}" for place, pid in enumerate(pids)}

"""The sequence chart: who said what to whom, time running down."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from chatlab.plot import style
from chatlab.trace.records import Call, Message, Process, Trace

MOST_MESSAGES = 60
_UNIT_INCHES = 0.3
_PART = 0.7
_DOTTED = (0, (1, 2))
_FEW = 3
# The keys of the lanes of whoever is not traced, and of shared memory; every other lane's is a pid.
_OUTSIDE, _MEMORY = -1, -2

_READS = ("read", "readv", "recvfrom", "recvmsg", "splice")
_STREAM = re.compile(r"\w+\(\d+<(?:pipe|TCP|TCPv6|UNIX\S*):")

# A call of these that never returned is where its process was stuck.
_WAITS = frozenset(
    """
    read readv recvfrom recvmsg accept accept4 connect write writev sendto sendmsg splice poll ppoll select pselect6
    epoll_wait epoll_pwait wait4 waitid pause flock fcntl clock_nanosleep
    """.split()  # noqa: SIM905
)


def sequence_chart(
    trace: Trace,
    ax: Axes | None = None,
    names: Mapping[int | None, str] | None = None,
    title: str = "Messages, from write to read",
    most: int = MOST_MESSAGES,
    states: Mapping[int, str] | None = None,
    memory: str | None = None,
    zero: float | None = None,
) -> Axes:
    """A lane per process, time downward, an arrow for each message from the write to the read, with its first bytes
    and size.

    names: pid → label. What was exchanged with a process outside of the trace goes to a lane of its own, whose label
    is names[None]; a cross ends what nobody read; a ring is a read that found the end of file; a box names the call
    that a process never came back from; states, pid → words, are boxes of yours at the ends of lanes. Time is not drawn
    to scale: long gaps are short here. What a lane repeats without anything else between is drawn once, with "× N". At
    most so many arrows are drawn; a note says how many messages were left out. zero: s, the time that the labels count
    from, such as the beginning of a journey that takes microseconds; by default the trace's start.

    memory: the label of one more lane, at the right, for memory that the processes share and into which they receive
    what comes from outside, and out of which they send what goes there, as lab 05's do. No trace shows where a call's
    buffer lies; so this is the caller's word, drawn as a dotted arrow beside the call's own.

    The Axes' `chatlab_rows`: a dictionary for each message shown (source, target, sent, received, size, via, text; and
    memory: "into", "out of" or None), in time order; each label has the gid "message:N", N the place of its (first)
    message, counting from 0, and its dotted arrow "memory:N".
    """
    story = _Story(trace, most, bool(states))
    lanes = _lanes(trace, story.messages)
    clock = _Clock(trace, story, lanes)
    if memory:
        lanes[_MEMORY] = float(len(lanes))
    ax = style.axes(ax, _inches(clock))
    drawing = _Drawing(ax, trace, lanes, clock)
    above = drawing.lanes({None: "outside\nof the trace", **style.process_labels(trace, names)}, memory)
    for run in story.arrows:
        drawing.message(run)
    for run in story.ends:
        drawing.end_of_file(run)
    for call in trace.calls:
        if _never_returned(call):
            drawing.stuck(call)
    for pid, words in (states or {}).items():
        drawing.state(pid, words, trace.end)
    style.title(ax, title, trace, above)
    _finish(ax, trace, drawing, len(trace.messages) - len(story.messages), zero)
    return ax


def height(trace: Trace, most: int = MOST_MESSAGES) -> float:
    """Inches that the chart of a trace wants, with room for boxes."""
    story = _Story(trace, most, boxes=True)
    return _inches(_Clock(trace, story, _lanes(trace, story.messages)))


def _inches(clock: _Clock) -> float:
    return 1.3 + _UNIT_INCHES * clock.height


def tells(trace: Trace) -> bool:
    """Whether the chart of a trace shows more than lanes: a message, an end of file, a call that never returned."""
    return bool(trace.messages or _ends_of_file(trace) or any(map(_never_returned, trace.calls)))


def _lanes(trace: Trace, messages: list[Message]) -> dict[int, float]:
    """pid → x. The outside world, when there is one, stands at the left."""
    pids = [process.pid for process in trace.processes]
    # None, and in a trace of one process alone also its partners.
    outside = any(message.source not in pids or message.target not in pids for message in messages)
    order = [_OUTSIDE, *pids] if outside else pids
    return {pid: float(x) for x, pid in enumerate(order)}


def _ends_of_file(trace: Trace) -> list[Call]:
    """The reads that found that the other end, every copy of it, was closed: 0 bytes of a pipe or connection."""
    reads = (call for call in trace.calls if call.name in _READS and call.result == 0)
    return [call for call in reads if _STREAM.match(call.text)]


def _never_returned(call: Call) -> bool:
    return call.name in _WAITS and call.result is None and call.error is None


@dataclass
class _Run:
    """What a lane repeats: messages or ends of file of the same key, and the place of the first in the trace."""

    key: tuple
    place: int
    records: list

    @property
    def times(self) -> str:
        return f" × {len(self.records)}" if len(self.records) > 1 else ""


class _Story:
    """The arrows and the ends of file to draw, repeated ones as one; messages: all those that the arrows stand for.

    boxes: whether there are any at the ends of the lanes.
    """

    def __init__(self, trace: Trace, most: int = MOST_MESSAGES, boxes: bool = False):
        self.boxes = boxes or any(map(_never_returned, trace.calls))
        self.arrows: list[_Run] = []
        self.ends: list[_Run] = []
        self._last: dict[int | None, _Run] = {}
        events = [(message.sent, place, message) for place, message in enumerate(trace.messages)]
        events += [(call.time, place, call) for place, call in enumerate(_ends_of_file(trace))]
        for _, place, record in sorted(events, key=lambda event: event[0]):
            if isinstance(record, Message):
                key = (record.source, record.target, record.size, record.via, record.text, record.received is None)
                self._add(self.arrows, _Run(key, place, [record]), {record.source, record.target})
            else:
                self._add(self.ends, _Run((record.pid, record.fd), place, [record]), {record.pid})
        self.arrows = sorted(_few_apart(self.arrows), key=lambda run: run.place)[:most]
        self.ends = _few_apart(self.ends)[:most]
        self.messages: list[Message] = [message for run in self.arrows for message in run.records]

    def _add(self, runs: list[_Run], run: _Run, lanes: set[int | None]) -> None:
        before = [self._last.get(lane) for lane in lanes]
        if before[0] is not None and before[0].key == run.key and all(other is before[0] for other in before):
            before[0].records += run.records
            return
        runs.append(run)
        self._last.update(dict.fromkeys(lanes, run))


def _few_apart(runs: list[_Run]) -> list[_Run]:
    """Two or three of the same are no crowd: each is drawn."""
    apart = []
    for run in runs:
        few = len(run.records) <= _FEW
        apart += [_Run(run.key, run.place + i, [one]) for i, one in enumerate(run.records)] if few else [run]
    return apart


class _Clock:
    """Time to y. Each event gets room for its label, and a gap grows only with its logarithm."""

    def __init__(self, trace: Trace, story: _Story, lanes: dict[int, float]):
        self._begin, self._end = trace.begin, max(trace.begin, trace.end)  # a cut may lie behind the trace's end
        self.events: dict[float, float] = {}
        self._parts: dict[float, int] = {}
        for message in (run.records[0] for run in story.arrows):
            self._wants(message.sent, 1.0)
            # What one write's several reads took is drawn one below the other.
            self._parts[message.sent] = self._parts.get(message.sent, -1) + 1
            if message.received is not None:
                self._wants(message.received, 0.45)
        for process in trace.processes:
            if process.parent in lanes:
                self._wants(process.start, 0.6)
            if process.end is not None:
                self._wants(process.end, 0.6)
        for call in (run.records[0] for run in story.ends):
            self._wants(call.time + call.duration, 0.8)
        if not story.arrows:
            self._wants(trace.begin, 0.6)
        self._wants(self._end, 1.5 if story.boxes else 0.6)
        self._times = sorted(self.events)
        self._heights = [0.4]
        for before, time in zip(self._times, self._times[1:], strict=False):
            gap = math.log1p((time - before) / 1e-3) * 0.25
            room = max(self.events[time], min(gap, 2.5)) + self._parts.get(before, 0) * _PART
            self._heights.append(self._heights[-1] + room)
        self.height = self._heights[-1] + 1.0

    def _wants(self, time: float, room: float) -> None:
        if self._begin <= time <= self._end:
            self.events[time] = max(self.events.get(time, 0.0), room)

    def y(self, time: float) -> float:
        """How far down a time is."""
        times, heights = self._times, self._heights
        if time <= times[0]:
            return heights[0]
        if time >= times[-1]:
            return heights[-1]
        i = bisect.bisect_right(times, time)
        part = (time - times[i - 1]) / (times[i] - times[i - 1])
        return heights[i - 1] + part * (heights[i] - heights[i - 1])

    def ticks(self) -> list[float]:
        """Times whose labels have room."""
        chosen: list[float] = []
        for time in self._times:
            if not chosen or self.y(time) - self.y(chosen[-1]) >= 0.6:
                chosen.append(time)
        return chosen


class _Drawing:
    def __init__(self, ax: Axes, trace: Trace, lanes: dict[int, float], clock: _Clock):
        self._ax = ax
        self._trace = trace
        self._lanes = lanes
        self._lane_inches = style.inches_wide(ax) / max(len(lanes), 1)
        self._most_text = min(max(int(self._lane_inches / style.text_width("x")) - 8, 8), 40)
        self.clock = clock
        self.rows: list[dict] = []
        self.seen: set[str] = set()

    def lanes(self, labels: Mapping[int | None, str], memory: str | None) -> float:
        """The life line of each process, from its fork to its end; returns the height of the headings in points."""
        bottom = self.clock.height - 0.5
        if memory:
            x = self._lanes[_MEMORY]
            self._ax.plot([x, x], [-0.3, bottom], color=style.PALE, linewidth=9, solid_capstyle="butt", zorder=0)
            self._head(memory, _MEMORY, style.INK)
        if _OUTSIDE in self._lanes:
            x = self._lanes[_OUTSIDE]
            self._ax.plot([x, x], [-0.3, bottom], color=style.FAINT, linewidth=1, linestyle=(0, (4, 3)))
            self._head(labels[None], _OUTSIDE, style.FAINT)
        for process in self._trace.processes:
            x = self._lanes[process.pid]
            forked = process.parent in self._lanes and process.start >= self._trace.begin
            ended = process.end is not None and process.end <= self._trace.end
            top = self.clock.y(process.start) if forked else -0.3
            end = self.clock.y(process.end) if ended else bottom
            self._ax.plot([x, x], [top, end], color=style.INK, linewidth=1.4, gid=f"{process.pid}")
            self._head(labels[process.pid].replace(" · ", "\n"), process.pid, style.INK)
            if forked:
                self._fork(self._lanes[process.parent], x, top)
            if ended:
                self._end(process, x, end)
        return 2 * 1.3 * style.TEXT_POINTS if self._lanes else 0.0

    def _head(self, text: str, pid: int, color: str) -> None:
        """On top of the Axes, in points, so that a chart of any height has room for two lines."""
        self._ax.annotate(
            style.plain(text),
            (self._lanes[pid], 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=style.TEXT_POINTS,
            fontweight="bold",
            color=color,
        )

    def _fork(self, parent: float, x: float, y: float) -> None:
        self._ax.plot([parent, x], [y, y], color=style.FAINT, linewidth=1, linestyle=":")
        self._ax.plot(x, y, marker="o", markersize=4, color=style.INK, markerfacecolor="white")
        self.seen.add("fork")

    def _end(self, process: Process, x: float, y: float) -> None:
        ending = style.ending(process)
        self._ax.plot(x, y, marker=ending.marker, markersize=6, color=ending.color)
        self._text(ending.text, x + 0.09 / self._lane_inches, y + 0.05, ending.color, ha="left", va="center")
        self.seen.add("end")

    def message(self, run: _Run) -> None:
        """An arrow and its label."""
        message, number = run.records[0], run.place
        outside = self._lanes.get(_OUTSIDE, 0.0)
        source, target = self._lanes.get(message.source, outside), self._lanes.get(message.target, outside)
        label = (
            f"{style.printable(message.text)} {style.size(message.size)}" if message.text else style.size(message.size)
        )
        label += run.times
        color = style.look(message.via).color
        y0 = self.clock.y(message.sent) + _PART * sum(row["sent"] == message.sent for row in self.rows)
        lost = message.received is None and message.target is not None
        y1 = y0 if message.received is None else max(self.clock.y(message.received), y0)
        if source == target:
            self._to_itself(number, label, source, y0, y1, color, lost)
        else:
            self._arrow(number, label, (source, y0), (target, y1), color, lost)
        passed = self._passed_memory(message) if _MEMORY in self._lanes else None
        if passed:
            ends = (self._lanes[message.target], y1) if passed == "into" else (self._lanes[message.source], y0)
            self._by_memory(number, *ends, passed)
        self.rows += [{**_as_dict(record), "memory": passed} for record in run.records]
        self.seen.add(message.via)

    def _passed_memory(self, message: Message) -> str | None:
        """What comes from outside its process has put into the memory, what goes there it has out of it."""
        came, goes = message.source not in self._lanes, message.target not in self._lanes
        return None if came == goes else "into" if came else "out of"

    def _by_memory(self, number: int, x: float, y: float, passed: str) -> None:
        """A dotted arrow to the memory's lane or from it, and a dot where the process's call is."""
        ends = (x, self._lanes[_MEMORY])
        tail, head = ends if passed == "into" else ends[::-1]
        look = {"color": style.INK, "linewidth": 1.2, "linestyle": _DOTTED}
        self._ax.plot([tail, head], [y, y], gid=f"memory:{number}", **look)
        tip = head - math.copysign(0.07 / self._lane_inches, head - tail)  # before the lane's line
        self._ax.plot(tip, y, marker=">" if head > tail else "<", markersize=5, color=style.INK, zorder=5)
        self._ax.plot(x, y, marker="o", markersize=4, color=style.INK, zorder=4)
        self.seen.add("shared")

    def _arrow(self, number: int, label: str, tail: tuple, head: tuple, color: str, lost: bool) -> None:
        if lost:
            head = (tail[0] + (head[0] - tail[0]) * 0.6, tail[1])
            self._ax.plot(*head, marker="x", color=style.ALARM, markersize=7, markeredgewidth=2)
            self.seen.add("lost")
        arrow = {"arrowstyle": "-" if lost else "-|>", "color": color, "linewidth": 1.6, "shrinkA": 1, "shrinkB": 1}
        self._ax.annotate("", head, tail, arrowprops=arrow)
        # Where the arrow begins, so that crossing ones keep their words apart; a long label stands halfway to the next
        # lane, so that no life line runs through it.
        half = style.text_width(label) / 2 / self._lane_inches
        part = min(min(half + 0.05, 0.5) / max(abs(head[0] - tail[0]), 0.1), 0.5)
        x, y = (near + (far - near) * part for near, far in zip(tail, head, strict=True))
        # Above the arrow along all of its own length.
        rise = min(half * abs(head[1] - tail[1]) / max(abs(head[0] - tail[0]), 0.1), abs(head[1] - tail[1]) / 2)
        self._label(number, label, x, y - 0.06 - rise, ha="center")

    def _to_itself(self, number: int, label: str, x: float, y0: float, y1: float, color: str, lost: bool) -> None:
        y1 = max(y1, y0 + 0.3)
        out = x + 0.15 / self._lane_inches
        self._ax.plot([x, out, out], [y0, y0, y1], color=color, linewidth=1.6)
        if lost:
            self._ax.plot(out, y1, marker="x", color=style.ALARM, markersize=7, markeredgewidth=2)
            self.seen.add("lost")
        else:
            arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 1}
            self._ax.annotate("", (x, y1), (out, y1), arrowprops=arrow)
        self._label(number, label, out + 0.08 / self._lane_inches, y0 + 0.25, ha="left")

    def end_of_file(self, run: _Run) -> None:
        """A ring on the lane of who read 0 bytes."""
        call = run.records[0]
        x, y = self._lanes[call.pid], self.clock.y(call.time + call.duration)
        self._ax.plot(x, y, marker="o", markersize=5, color=style.INK, markerfacecolor="white", zorder=4)
        self._text(
            f"end of file on {call.fd}{run.times}", x + 0.09 / self._lane_inches, y, style.INK, ha="left", va="center"
        )

    def stuck(self, call: Call) -> None:
        """A box at the end of the lane of a process that never came back from a call."""
        process = next(process for process in self._trace.processes if process.pid == call.pid)
        if process.status is not None:
            return
        where = f"{call.name}({call.fd})" if call.fd is not None else call.name
        self.state(call.pid, f"waits in {where}", call.time + call.duration)

    def state(self, pid: int, words: str, time: float) -> None:
        """A box on a lane, a little above a time."""
        text = self._text(words, self._lanes[pid], self.clock.y(time) - 0.55, style.ALARM, ha="center", va="center")
        text.set_path_effects([])
        text.set_bbox({"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": style.ALARM})
        self.seen.add("stuck")

    def _label(self, number: int, text: str, x: float, y: float, ha: str) -> None:
        label = self._text(text, x, y, style.INK, ha, "bottom")
        label.set_fontfamily(style.MONOSPACE)
        label.set_gid(f"message:{number}")

    def _text(self, text: str, x: float, y: float, color: str, ha: str, va: str):
        label = self._ax.text(
            x, y, style.plain(text), fontsize=style.TEXT_POINTS - 0.5, color=color, ha=ha, va=va, zorder=6
        )
        label.set_path_effects(style.HALO)
        return label


def _as_dict(message: Message) -> dict:
    return {name: getattr(message, name) for name in ("source", "target", "sent", "received", "size", "via", "text")}


def _finish(ax: Axes, trace: Trace, drawing: _Drawing, left_out: int, zero: float | None) -> None:
    clock = drawing.clock
    times = clock.ticks()
    unit = style.unit(max(times[-1] - times[0], 0.002 if zero is None else 0.0))
    digits = 0 if unit.name == "µs" else 2
    ax.set_xlim(-0.45, max(len(drawing._lanes), 1) - 0.45)
    ax.set_ylim(clock.height, -0.4)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    labels = [f"{unit.of(time - (zero or 0.0)):.{digits}f}" for time in times]
    ax.set_yticks([clock.y(time) for time in times], labels)
    ax.set_ylabel(f"time ({unit.name}), not to scale", fontsize=style.TEXT_POINTS)
    if left_out:
        style.left_out(ax, f"{left_out} more messages")
    elif not drawing.rows:
        why = "no message was seen" if trace.exact else "messages cannot be sampled: install strace"
        style.note(ax, why, style.INK)
    ax.chatlab_rows = drawing.rows
    _legend(ax, drawing.seen)


def _legend(ax: Axes, seen: set[str]) -> None:
    handles = [
        Line2D([], [], color=look.color, linewidth=1.6, marker=">", markersize=5, label=kind)
        for kind, look in style.KINDS.items()
        if kind in seen
    ]
    known = {
        "fork": Line2D([], [], color=style.FAINT, linewidth=1, linestyle=":", label="fork"),
        "end": Line2D([], [], linestyle="", marker="s", color=style.INK, markersize=5, label="process ends"),
        "lost": Line2D([], [], linestyle="", marker="x", color=style.ALARM, markeredgewidth=2, label="never read"),
        "shared": Line2D(
            [], [], color=style.INK, linewidth=1.2, linestyle=_DOTTED, label="shared memory, by the same call"
        ),
    }
    style.legend(ax, handles + [handle for name, handle in known.items() if name in seen])

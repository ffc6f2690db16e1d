"""The descriptor timeline: who had what open, from when to when."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from chatlab.plot import style
from chatlab.trace.records import Descriptor, Process, Trace

MOST_ROWS = 80
_ROW_INCHES = 0.25
_AXES_INCHES = style.WIDTH_INCHES * 0.85
_BAR = 0.64

# How a descriptor came, as a mark at its bar's beginning. What a process opens itself needs none.
_MARKS = {
    "at-start": ("<", "there from before"),
    "fork": ("o", "copied by fork"),
    "dup": ("s", "made by dup"),
    "exec": ("P", "kept by exec"),
    "received": ("D", "received over a socket"),
}
_STREAMS = (0, 1, 2)


def descriptor_timeline(
    trace: Trace,
    ax: Axes | None = None,
    kinds: Collection[str] | None = None,
    names: Mapping[int, str] | None = None,
    title: str = "Descriptors, from open to close",
    first: float | None = None,
    most: int = MOST_ROWS,
) -> Axes:
    """A row per process and descriptor number, a bar from open to close with the descriptor's name.

    kinds: only these kinds. By default all but "other", and without the files that were read while a program started
    (see `Trace.quiet`). names: pid → label. A number used again for something else is a new bar, in a row of its own
    where names would collide. Standard streams that nobody touched share a row. An arrow at the right: still open at
    the trace's end. first: s, where the time axis begins; by default a little before something opens. At most so many
    rows are drawn; a note says how many were not.

    The Axes' `chatlab_rows`: a dictionary for each descriptor drawn (pid, fd, kind, name, opened and closed in s, how,
    row from 0 at the top), in time order; its bar's gid is "PID:FD:OPENED", OPENED in whole microseconds.
    """
    shown = _shown(trace, kinds)
    first, last = _window(trace, shown, first)
    groups = _groups(trace, shown, (last - first) / _AXES_INCHES, style.process_labels(trace, names))
    ax = style.axes(ax, _inches(groups, most))
    drawing = _Drawing(ax, first, last, trace.end, most)
    for group in groups:
        drawing.group(group)
    drawing.finish()
    ax.set_ylabel("descriptor", fontsize=style.TEXT_POINTS)
    style.title(ax, title, trace)
    if drawing.left_out:
        style.left_out(ax, f"{drawing.left_out} more rows")
    ax.chatlab_rows = sorted(drawing.rows, key=lambda row: row["opened"])
    style.legend(ax, _handles(drawing.kinds, drawing.rows))
    return ax


def height(trace: Trace) -> float:
    """Inches that the timeline of a trace wants."""
    shown = _shown(trace, None)
    first, last = _window(trace, shown, trace.begin)
    return _inches(_groups(trace, shown, (last - first) / _AXES_INCHES, style.process_labels(trace)), MOST_ROWS)


def _inches(groups: list[_Group], most: int) -> float:
    return 1.2 + _ROW_INCHES * max(min(sum(len(group.rows) + 1 for group in groups), most + 1), 3)


def _shown(trace: Trace, kinds: Collection[str] | None) -> list[Descriptor]:
    if kinds is not None:
        return [record for record in trace.descriptors if record.kind in kinds]
    return [record for record in trace.quiet().descriptors if record.kind != "other"]


def _window(trace: Trace, shown: list[Descriptor], first: float | None) -> tuple[float, float]:
    """The stretch of time in which something opens or closes, and room for the last names.

    A start-up before it says nothing.
    """
    if first is None:
        opened = [record.opened for record in shown if record.how != "at-start" and record.opened > trace.begin]
        first = min(opened, default=trace.begin)
        first = max(first - (trace.end - first) * 0.04, trace.begin)
    span = (trace.end - first) or 0.001
    for record in shown:
        # A name as wide as a part of the figure leaves its bar the rest to begin in.
        part = (style.text_width(record.name) + 0.25) / _AXES_INCHES
        span = max(span, (record.opened - first) / (1 - part)) if part < 0.5 else span
    return first, first + span * 1.02


@dataclass
class _Bar:
    """One bar: a descriptor, or the standard streams together. name is empty where the bar before it has said it."""

    records: list[Descriptor]
    name: str

    @property
    def record(self) -> Descriptor:
        return self.records[0]


@dataclass
class _Row:
    label: str
    bars: list[_Bar] = field(default_factory=list)
    free_from: float = 0.0


@dataclass
class _Group:
    """A process: its heading and its rows."""

    process: Process
    label: str
    rows: list[_Row]


def _groups(trace: Trace, shown: list[Descriptor], seconds_per_inch: float, labels: Mapping[int, str]) -> list[_Group]:
    from_before = {(record.fd, record.name) for record in shown if record.how == "at-start"}
    groups = []
    for process in trace.processes:
        own = sorted((record for record in shown if record.pid == process.pid), key=lambda d: (d.fd, d.opened))
        streams = _untouched_streams(own, from_before)
        rows = [_Row("0–2", streams)] if streams else []
        others = own if not streams else [record for record in own if record.fd not in _STREAMS]
        rows += _rows(others, trace.end, seconds_per_inch)
        if rows:
            groups.append(_Group(process, labels[process.pid], rows))
    return groups


def _untouched_streams(own: list[Descriptor], from_before: set[tuple[int, str]]) -> list[_Bar]:
    """Bars for standard input, output and error together, when they are in this process what they were before it."""
    by_number = [[record for record in own if record.fd == fd] for fd in _STREAMS]
    lives = [[(record.opened, record.closed, record.how) for record in records] for records in by_number]
    if not lives[0] or lives[0] != lives[1] or lives[0] != lives[2]:
        return []
    if any((record.fd, record.name) not in from_before for records in by_number for record in records):
        return []
    together = zip(*by_number, strict=True)
    names = ["stdin, stdout, stderr"] + [""] * len(lives[0])
    return [_Bar(list(records), name) for records, name in zip(together, names, strict=False)]


def _rows(records: list[Descriptor], last: float, seconds_per_inch: float) -> list[_Row]:
    rows: list[_Row] = []
    for record in records:
        name = record.name
        same = [row for row in rows if row.label == str(record.fd)]
        row = next((row for row in same if _continues(row.bars[-1].record, record)), None)
        if row:
            name = ""
        else:
            row = next((row for row in same if row.free_from <= record.opened), None)
        if row is None:
            row = _Row(str(record.fd))
            rows.append(row)
        row.bars.append(_Bar([record], name))
        named_until = record.opened + (style.text_width(name) + 0.25) * seconds_per_inch
        row.free_from = max(named_until, last if record.closed is None else record.closed, row.free_from)
    return rows


def _continues(before: Descriptor, record: Descriptor) -> bool:
    """The same open file in the same place, kept by exec."""
    return record.how == "exec" and before.name == record.name and before.closed == record.opened


class _Drawing:
    """Bars, names and marks on the Axes. rows: what was drawn; kinds: those with a bar of their own."""

    def __init__(self, ax: Axes, first: float, last: float, end: float, most: int):
        self._ax = ax
        self._most = most
        self._unit = style.unit(last - first)
        self._first, self._last, self._end = first, last, end
        self._y = 0
        self._ticks: dict[float, str] = {}
        self.left_out = 0
        self.rows: list[dict] = []
        self.kinds: set[str] = set()

    def group(self, group: _Group) -> None:
        """A process: its heading, then its rows."""
        if self._y >= self._most:
            self.left_out += len(group.rows)
            return
        self._heading(group)
        drawn = group.rows[: max(self._most - self._y, 0)]
        self.left_out += len(group.rows) - len(drawn)
        for row in drawn:
            for bar in row.bars:
                self._bar(bar)
            self._ticks[self._y] = row.label
            self._y += 1

    def finish(self) -> None:
        """Limits, ticks and the time axis."""
        ax, unit = self._ax, self._unit
        ax.set_ylim(max(self._y, 1) - 0.4 + 0.8 * bool(self.left_out), -0.6)
        ax.set_yticks(list(self._ticks), list(self._ticks.values()))
        ax.tick_params(axis="y", length=0)
        ax.set_xlim(unit.of(self._first), unit.of(self._last))
        ax.grid(axis="x", color=style.PALE, linewidth=0.6)
        ax.set_xlabel(f"time since the trace began ({unit.name})", fontsize=style.TEXT_POINTS)

    def _heading(self, group: _Group) -> None:
        """The process's label above a line as long as its life."""
        y, process = self._y, group.process
        if y:
            self._ax.axhline(y - 0.5, color=style.FAINT, linewidth=0.5)
        start = max(process.start, self._first)
        end = self._end if process.end is None else process.end
        life = [self._unit.of(start), self._unit.of(end)]
        self._ax.plot(life, [y + 0.3] * 2, color=style.INK, linewidth=1.4, gid=f"{process.pid}")
        if process.end is not None:
            self._ax.plot(life[1], y + 0.3, marker="|", color=style.INK, markersize=7)
        x = min(life[0], self._unit.of(self._last) - self._wide(group.label, style.TEXT_POINTS + 1))
        self._text(x, y - 0.02, group.label, fontsize=style.TEXT_POINTS, fontweight="bold")
        self._y += 1

    def _bar(self, bar: _Bar) -> None:
        record, together = bar.record, len(bar.records) > 1
        look = style.look("other" if together else record.kind)
        self.kinds |= set() if together else {record.kind}
        start = max(record.opened, self._first)
        end = self._end if record.closed is None else record.closed
        x, width, y = self._unit.of(start), self._unit.of(max(end - start, 0.0)), self._y
        (drawn,) = self._ax.barh(
            y, width, left=x, height=_BAR, color=look.fill, hatch=look.hatch, edgecolor=look.color, linewidth=0.8
        )
        drawn.set_gid(f"{record.pid}:{record.fd}:{record.opened * 1e6:.0f}")
        # A life too short for the figure is still a life: its edges show.
        self._ax.vlines([x, x + width], y - _BAR / 2, y + _BAR / 2, color=look.color, linewidth=1.4)
        if record.closed is None:
            self._ax.plot(x + width, y, marker=">", color=style.INK, markersize=6, clip_on=False)
        if record.how in _MARKS:
            mark = {"marker": _MARKS[record.how][0], "markersize": 5, "color": style.INK, "markerfacecolor": "white"}
            self._ax.plot(x, y, **mark, zorder=4, clip_on=False)
        if bar.name:
            gap = self._wide("." if record.how in _MARKS else "", style.TEXT_POINTS) + self._wide(".", 4)
            right = self._unit.of(self._last) - self._wide(bar.name, style.TEXT_POINTS)
            self._text(min(x + gap, right), y, bar.name, fontsize=style.TEXT_POINTS - 0.5)
        self.rows += [{**_as_dict(record), "row": y} for record in bar.records]

    def _wide(self, text: str, points: float) -> float:
        """The width of a text, in the axis's unit."""
        inches = style.text_width(text, points) / style.inches_wide(self._ax)
        return inches * self._unit.of(self._last - self._first)

    def _text(self, x: float, y: float, text: str, **font) -> None:
        x = max(x, self._unit.of(self._first))
        label = self._ax.text(x, y, style.plain(text), va="center", ha="left", color=style.INK, zorder=5, **font)
        label.set_path_effects(style.HALO)


def _as_dict(record: Descriptor) -> dict:
    return {name: getattr(record, name) for name in ("pid", "fd", "kind", "name", "opened", "closed", "how")}


def _handles(kinds: set[str], rows: list[dict]) -> list:
    hows = {row["how"] for row in rows}
    handles = [
        Patch(facecolor=look.fill, hatch=look.hatch, edgecolor=look.color, linewidth=0.8, label=kind)
        for kind, look in style.KINDS.items()
        if kind in kinds
    ]
    mark = {"linestyle": "", "color": style.INK, "markersize": 5}
    handles += [
        Line2D([], [], marker=marker, markerfacecolor="white", label=label, **mark)
        for how, (marker, label) in _MARKS.items()
        if how in hows
    ]
    if any(row["closed"] is None for row in rows):
        handles.append(Line2D([], [], marker=">", label="open at the end", **mark))
    return handles

"""The process tree over time: who forked whom, who ended how, and who reaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from chatlab.plot import style
from chatlab.trace.records import Call, Process, Trace

MOST_LANES = 60
_LANE_INCHES = 0.46


def process_tree(
    trace: Trace,
    ax: Axes | None = None,
    names: Mapping[int, str] | None = None,
    title: str = "Processes, from fork to the parent's wait",
    first: float | None = None,
) -> Axes:
    """A lane per process: from fork to exit, then, as a zombie, until a wait call reaps it.

    Execs and signals are marked on the way. names: pid → label. first: s, where the time axis begins; by default a
    little before the first fork. At most MOST_LANES lanes are drawn; a note says how many were not.

    The Axes' `chatlab_rows`: a dictionary for each lane (pid, parent, start, end, reaped in s, status, signal, zombie
    in s or None, signals: the names in order, lane); each life's line has the gid "PID", each zombie's "PID:zombie".
    """
    lanes = _lanes(trace)
    shown = lanes[:MOST_LANES]
    first, last = _window(trace, first)
    ax = style.axes(ax, height(trace))
    drawing = _Drawing(ax, trace, first, last, {process.pid: lane for lane, process in enumerate(shown)})
    labels = style.process_labels(trace, names)
    for process in shown:
        drawing.lane(process)
    style.title(ax, title, trace)
    _finish(ax, drawing, [labels[process.pid] for process in shown], len(lanes) - len(shown))
    return ax


def height(trace: Trace) -> float:
    """Inches that the tree of a trace wants."""
    return 1.4 + _LANE_INCHES * min(max(len(trace.processes), 2), MOST_LANES)


def _lanes(trace: Trace) -> list[Process]:
    """Parents before their children, each with its descendants below it."""
    pids = {process.pid for process in trace.processes}
    below: dict[int | None, list[Process]] = {}
    for process in trace.processes:
        below.setdefault(process.parent if process.parent in pids else None, []).append(process)
    ordered: list[Process] = []
    waiting = list(reversed(below.get(None, [])))
    while waiting:
        process = waiting.pop()
        ordered.append(process)
        waiting += reversed(below.get(process.pid, []))
    return ordered


def _window(trace: Trace, first: float | None) -> tuple[float, float]:
    """From a little before the first fork: what a program does while it starts says nothing here."""
    forks = [process.start for process in trace.processes if process.parent is not None and process.start > trace.begin]
    begin = min(forks, default=trace.begin) if first is None else first
    pad = (trace.end - begin) * 0.06 or 0.001
    return max(begin - pad, trace.begin) if first is None else first, trace.end + pad


@dataclass
class _Mark:
    """Signals of one name that fall on nearly the same spot."""

    name: str
    x: float
    count: int


class _Drawing:
    def __init__(self, ax: Axes, trace: Trace, first: float, last: float, lanes: dict[int, int]):
        self._ax = ax
        self._trace = trace
        self._reaped = trace.reaped
        self.unit = style.unit(last - first)
        self.first, self.last = first, last
        self._lanes = lanes
        self.rows: list[dict] = []
        self.seen: set[str] = set()

    def lane(self, process: Process) -> None:
        """One process's life."""
        y = self._lanes[process.pid]
        end = self.last if process.end is None else process.end
        start = max(process.start, self.first)
        self._ax.plot(
            self._x(start, end),
            [y, y],
            color=style.KINDS["tcp"].color,
            linewidth=5,
            solid_capstyle="butt",
            gid=f"{process.pid}",
        )
        self._fork(process, y)
        zombie = self._zombie(process, y)
        self._ending(process, y)
        for call in self._trace.named("execve", "execveat"):
            if call.pid == process.pid and call.result == 0 and call.time > self.first:
                self._exec(call, y)
        signals = [signal for signal in self._trace.signals if signal.pid == process.pid]
        self._signals([signal for signal in signals if signal.time >= self.first], y)
        self.rows.append(
            {
                "pid": process.pid, "parent": process.parent, "start": process.start, "end": process.end,
                "reaped": self._reaped.get(process.pid), "status": process.status, "signal": process.signal,
                "zombie": zombie, "signals": [signal.name for signal in signals], "lane": y,
            }
        )  # fmt: skip

    def _x(self, *seconds: float) -> list[float]:
        return [self.unit.of(second) for second in seconds]

    def _fork(self, process: Process, y: int) -> None:
        parent = self._lanes.get(process.parent)
        if parent is None or process.start < self.first:
            return
        (x,) = self._x(process.start)
        arrow = {"arrowstyle": "-|>", "color": style.INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
        self._ax.annotate("", (x, y - 0.06), (x, parent), arrowprops=arrow)
        self.seen.add("fork")

    def _zombie(self, process: Process, y: int) -> float | None:
        """Draw what lies between the end and the wait; its length in s, None when it is not over or never began."""
        # A sampled trace has no wait calls: nobody can tell when a zombie was reaped.
        if process.end is None or process.parent not in self._lanes or not self._trace.exact:
            return None
        reaped = self._reaped.get(process.pid)
        self._ax.plot(
            self._x(process.end, self.last if reaped is None else reaped), [y, y],
            color=style.ALARM, linewidth=2.2, linestyle=(0, (1.2, 1)), gid=f"{process.pid}:zombie",
        )  # fmt: skip
        self.seen.add("zombie")
        if reaped is None:
            self._ax.plot(self._x(self.last), [y], marker=">", color=style.ALARM, markersize=6, clip_on=False)
            return None
        parent = self._lanes[process.parent]
        self._ax.plot(self._x(reaped, reaped), [y, parent], color=style.FAINT, linewidth=0.9, linestyle=":")
        self._ax.plot(self._x(reaped), [y], marker="|", color=style.INK, markersize=9)
        self.seen.add("reaped")
        return reaped - process.end

    def _ending(self, process: Process, y: int) -> None:
        if process.end is None:
            self._ax.plot(self._x(self.last), [y], marker=">", color=style.INK, markersize=6, clip_on=False)
            return
        ending = style.ending(process)
        (x,) = self._x(process.end)
        self._ax.plot(
            x,
            y,
            marker=ending.marker,
            markersize=7,
            color=ending.color,
            markeredgecolor="white",
            markeredgewidth=0.6,
            zorder=4,
        )
        self._label(ending.text, x, y + 0.22, ending.color, va="top")

    def _exec(self, call: Call, y: int) -> None:
        (x,) = self._x(call.time + call.duration)
        self._ax.plot(x, y, marker="P", markersize=7, color=style.INK, markerfacecolor="white", zorder=4)
        self.seen.add("exec")

    def _signals(self, signals: list, y: int) -> None:
        near = self.unit.of(self.last - self.first) * 0.1
        marks: list[_Mark] = []
        for signal in signals:
            (x,) = self._x(signal.time)
            self._ax.plot(
                x,
                y - 0.16,
                marker="v",
                markersize=6,
                color=style.KINDS["pipe"].color,
                markeredgecolor=style.INK,
                zorder=5,
            )
            same = next((mark for mark in marks if mark.name == signal.name and x - mark.x < near), None)
            if same:
                same.count += 1
            else:
                marks.append(_Mark(signal.name, x, 1))
            self.seen.add("signal")
        for mark in marks:
            times = f" ×{mark.count}" if mark.count > 1 else ""
            self._label(mark.name + times, mark.x, y - 0.27, style.INK, va="bottom")

    def _label(self, text: str, x: float, y: float, color: str, va: str) -> None:
        label = self._ax.text(x, y, text, fontsize=style.TEXT_POINTS - 0.5, color=color, ha="center", va=va, zorder=6)
        label.set_path_effects(style.HALO)


def _finish(ax: Axes, drawing: _Drawing, labels: list[str], left_out: int) -> None:
    unit = drawing.unit
    ax.set_ylim(len(labels) - 0.25, -0.75)
    ax.set_yticks(range(len(labels)), [style.plain(label) for label in labels])
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(unit.of(drawing.first), unit.of(drawing.last))
    ax.grid(axis="x", color=style.PALE, linewidth=0.6)
    ax.set_xlabel(f"time since the trace began ({unit.name})", fontsize=style.TEXT_POINTS)
    if left_out:
        style.left_out(ax, f"{left_out} more processes")
    ax.chatlab_rows = drawing.rows
    _legend(ax, drawing.seen)


def _legend(ax: Axes, seen: set[str]) -> None:
    known = {
        "lives": Line2D([], [], color=style.KINDS["tcp"].color, linewidth=5, label="process lives"),
        "fork": Line2D([], [], color=style.INK, linewidth=0.9, marker="v", markersize=5, label="fork"),
        "exec": Line2D([], [], linestyle="", marker="P", color=style.INK, markerfacecolor="white", label="exec"),
        "signal": Line2D(
            [],
            [],
            linestyle="",
            marker="v",
            color=style.KINDS["pipe"].color,
            markeredgecolor=style.INK,
            label="signal arrives",
        ),
        "zombie": Line2D([], [], color=style.ALARM, linewidth=2.2, linestyle=(0, (1.2, 1)), label="zombie"),
        "reaped": Line2D([], [], color=style.FAINT, linewidth=0.9, linestyle=":", label="reaped by wait"),
    }
    handles = [handle for name, handle in known.items() if name in seen or name == "lives"]
    style.legend(ax, handles)

"""The path of the bytes through one process: from descriptor to descriptor, or by way of its memory; time running down.

A read brings bytes into the process's memory, a write takes them from there. A splice does neither: the kernel moves
them from one descriptor to the other (splice(2)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from chatlab.plot import style
from chatlab.trace.records import Call, Trace

MOST_CALLS = 60
_ROW_INCHES = 0.3
_READS = frozenset(["read", "readv", "pread64", "preadv", "recvfrom", "recvmsg"])
_WRITES = frozenset(["write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg"])
_MOVES = frozenset(("splice", "tee"))
_POLLS = ("poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait")
_COPIED = (0, (5, 1.5))
_SHUT = {"SHUT_WR": "no more to send", "SHUT_RD": "no more to read", "SHUT_RDWR": "no more of either"}


@dataclass(frozen=True)
class _Step:
    """One call: from one lane to another; target None for what moved nothing: an end of file, a shutdown."""

    call: Call
    source: str
    target: str | None
    text: str


def byte_path(
    trace: Trace,
    lanes: Mapping[int | None, str],
    ax: Axes | None = None,
    title: str = "The path of the bytes",
) -> Axes:
    """A lane for each place where bytes can be, an arrow for each call that moved some, with its name and its bytes.

    trace: of one process (see Trace.of). lanes: descriptor → the name of its lane, and None → that of the process's
    memory, in the order in which they stand from left to right; several descriptors may share a lane, as the two ends
    of a pipe do. Calls on other descriptors are left out. A ring is a read that found the end of file, a bar a
    shutdown; a line across is a poll that came back. The calls stand in their order, each with its time, not to scale.
    At most MOST_CALLS are drawn; a note says how many were not.

    The Axes' `chatlab_rows`: a dictionary for each call drawn (call: its name, source, target: lanes, size in bytes,
    time in s); target is None, and size 0, for an end of file or a shutdown.
    """
    places = {name: float(x) for x, name in enumerate(dict.fromkeys(lanes.values()))}
    steps = [step for call in trace.calls if (step := _step(call, lanes))]
    shown = steps[:MOST_CALLS]
    ax = style.axes(ax, height(trace, lanes))
    for name, x in places.items():
        memory = name == lanes.get(None)
        ax.axvline(x, color=style.FAINT if memory else style.INK, linestyle=(0, (4, 3)) if memory else "-", linewidth=1)
    room = style.inches_wide(ax) / max(len(places), 1)
    for y, step in enumerate(shown):
        _draw(ax, step, y, places, room)
    _polls(ax, trace, shown)
    style.title(ax, title, trace, above=1.3 * style.TEXT_POINTS)
    _finish(ax, shown, places)
    if len(steps) > len(shown):
        style.left_out(ax, f"{len(steps) - len(shown)} more calls")
    elif not steps:
        style.note(ax, "no call was seen" if trace.exact else "calls cannot be sampled: install strace", style.INK)
    ax.chatlab_rows = [
        {
            "call": step.call.name, "source": step.source, "target": step.target,
            "size": step.call.result if step.target else 0, "time": step.call.time,
        }
        for step in shown
    ]  # fmt: skip
    return ax


def height(trace: Trace, lanes: Mapping[int | None, str]) -> float:
    """Inches that the path of a trace wants."""
    steps = sum(_step(call, lanes) is not None for call in trace.calls)
    return 1.6 + _ROW_INCHES * min(max(steps, 3), MOST_CALLS)


def _step(call: Call, lanes: Mapping[int | None, str]) -> _Step | None:
    """What a call did, None when it moved nothing between these lanes."""
    if call.result is None or call.result < 0 or call.fd not in lanes:
        return None
    here, memory = lanes[call.fd], lanes.get(None)
    if call.name == "shutdown":
        return _Step(call, here, None, f"shutdown: {_SHUT.get(call.args[1], call.args[1])}")
    if call.name in _READS | _MOVES and call.result == 0:
        return _Step(call, here, None, f"{call.name}: end of file")
    target = _target(call, lanes)
    if call.name in _READS and memory:
        source, target = here, memory
    elif call.name in _WRITES and memory:
        source, target = memory, here
    elif call.name in _MOVES and target:
        source = here
    else:
        return None
    return _Step(call, source, target, f"{call.name} {style.size(call.result)}")


def _target(call: Call, lanes: Mapping[int | None, str]) -> str | None:
    """The lane that a splice or tee moves to: its third or second argument."""
    if call.name not in _MOVES:
        return None
    number = call.args[2 if call.name == "splice" else 1]
    return lanes.get(int(number)) if number.isdigit() else None


def _draw(ax: Axes, step: _Step, y: int, places: Mapping[str, float], room: float) -> None:
    x = places[step.source]
    if step.target is None:
        look = {"marker": "_", "markeredgewidth": 2.5} if step.call.name == "shutdown" else {"marker": "o"}
        ax.plot(x, y, color=style.INK, markerfacecolor="white", markersize=6, zorder=4, **look)
        right = x > places[max(places, key=places.get)] / 2
        gap = 0.12 / room
        _text(ax, x - gap if right else x + gap, y, step.text, "right" if right else "left", "center")
        return
    end = places[step.target]
    color = style.look("pipe" if step.call.name in _MOVES else "tcp").color
    ax.plot(x, y, marker="o", markersize=3, color=color, zorder=4)
    arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 1}
    if step.call.name not in _MOVES:
        arrow["linestyle"] = _COPIED
    ax.annotate("", (end, y), (x, y), arrowprops=arrow)
    _text(ax, (x + end) / 2, y - 0.08, step.text, "center", "bottom")


def _text(ax: Axes, x: float, y: float, text: str, ha: str, va: str) -> None:
    label = ax.text(x, y, text, fontsize=style.TEXT_POINTS - 0.5, color=style.INK, ha=ha, va=va, zorder=6)
    label.set_path_effects(style.HALO)


def _polls(ax: Axes, trace: Trace, shown: list[_Step]) -> None:
    """A line across above the first step after each poll."""
    times = [call.time for call in trace.named(*_POLLS)]
    for y, step in enumerate(shown):
        before = shown[y - 1].call.time if y else float("-inf")
        if any(before < time < step.call.time for time in times):
            ax.axhline(y - 0.62, color=style.FAINT, linewidth=0.6, linestyle=":")


def _finish(ax: Axes, shown: list[_Step], places: Mapping[str, float]) -> None:
    times = [step.call.time for step in shown] or [0.0]
    unit = style.unit(max(times[-1] - times[0], 0.002))
    ax.set_xlim(-0.5, max(len(places), 1) - 0.5)
    ax.set_ylim(max(len(shown), 1) - 0.4, -0.9)
    for name, x in places.items():
        ax.annotate(
            style.plain(name), (x, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2), textcoords="offset points",
            ha="center", va="bottom", fontsize=style.TEXT_POINTS, fontweight="bold", color=style.INK,
        )  # fmt: skip
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.set_yticks(range(len(shown)), [f"{unit.of(time - times[0]):.2f}" for time in times[: len(shown)]])
    ax.set_ylabel(f"time since the first ({unit.name}), not to scale", fontsize=style.TEXT_POINTS)
    _legend(ax, {step.call.name for step in shown if step.target})


def _legend(ax: Axes, names: set[str]) -> None:
    moved, copied = style.look("pipe").color, style.look("tcp").color
    handles = [Line2D([], [], color=moved, linewidth=1.6, label="moved by the kernel")] if names & _MOVES else []
    if names - _MOVES:
        handles.append(Line2D([], [], color=copied, linewidth=1.6, linestyle=_COPIED, label="copied"))
    if handles:
        handles.append(Line2D([], [], color=style.FAINT, linewidth=0.8, linestyle=":", label="poll"))
    style.legend(ax, handles)

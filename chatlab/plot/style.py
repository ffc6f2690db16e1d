"""One look for every figure: a colour and a hatch for each kind of descriptor, sizes, units, and labels of processes.

The colours are Okabe and Ito's, which colour-blind people tell apart; hatches, line styles and direct labels carry
the same meaning in grey. (M. Okabe, K. Ito: Color Universal Design, 2008.)
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from chatlab.trace.records import Process, Trace

WIDTH_INCHES = 9.0
TEXT_POINTS = 8.0
TITLE_POINTS = 11.0
MONOSPACE = "DejaVu Sans Mono"

INK = "#222222"
FAINT = "#8a8a8a"
PALE = "#e8e8e8"
ALARM = "#d55e00"

HALO = [patheffects.withStroke(linewidth=2, foreground="white")]


@dataclass(frozen=True)
class Look:
    """How a kind of descriptor is drawn."""

    color: str
    hatch: str = ""

    @property
    def fill(self) -> tuple[float, float, float]:
        """The colour, light enough to be written on."""
        return tuple(0.4 * part + 0.6 for part in to_rgb(self.color))


KINDS = {
    "listener": Look("#56b4e9", "///"),
    "tcp": Look("#0072b2"),
    "udp": Look("#9ccbe8", "..."),
    "unix": Look("#66c2a5", "---"),
    "socketpair": Look("#009e73", "\\\\\\"),
    "pipe": Look("#e69f00"),
    "epoll": Look("#cc79a7", "xxx"),
    "eventfd": Look("#e3b5cf", "+++"),
    "signalfd": Look("#e3b5cf", "ooo"),
    "pidfd": Look("#e3b5cf", "***"),
    "memory": Look("#f0e442", "|||"),
    "file": Look("#c4c4c4"),
    "tty": Look("#9e9e9e", "..."),
    "other": Look("#b8b8b8"),
}


def look(kind: str) -> Look:
    """The look of a kind; an unknown one looks like "other"."""
    return KINDS.get(kind, KINDS["other"])


def axes(ax: Axes | None, height: float) -> Axes:
    """ax, or the Axes of a new figure of a notebook's width and that height in inches."""
    if ax is None:
        _, ax = plt.subplots(figsize=(WIDTH_INCHES, height), layout="constrained")
    ax.tick_params(labelsize=TEXT_POINTS, length=3, color=FAINT, labelcolor=INK)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(FAINT)
    ax.set_axisbelow(True)
    return ax


def inches_wide(ax: Axes) -> float:
    """About how wide the Axes are, without their labels at the left."""
    columns = ax.get_subplotspec().get_gridspec().ncols if ax.get_subplotspec() else 1
    return ax.figure.get_size_inches()[0] / columns * 0.85


def title(ax: Axes, text: str, trace: Trace, above: float = 0.0) -> None:
    """The title; below it, small, what a sampled trace cannot show. above: points, what stands on top of the Axes."""
    ax.set_title(text, fontsize=TITLE_POINTS, loc="left", color=INK, pad=above + (6 if trace.exact else 18))
    if not trace.exact:
        _beside(ax, trace.note, (0.0, 1.0), above + 2, "left", ALARM)


def left_out(ax: Axes, what: str) -> None:
    """Say at the bottom what was too much to draw."""
    note(ax, f"… and {what}, not drawn", ALARM)


def note(ax: Axes, text: str, color: str) -> None:
    """A line at the bottom of the Axes."""
    _beside(ax, text, (0.5, 0.0), 4, "center", color)


def _beside(ax: Axes, text: str, place: tuple[float, float], above: float, ha: str, color: str) -> None:
    ax.annotate(
        text,
        place,
        xycoords="axes fraction",
        xytext=(0, above),
        textcoords="offset points",
        ha=ha,
        va="bottom",
        fontsize=TEXT_POINTS,
        color=color,
        path_effects=HALO,
    )


def legend(ax: Axes, handles: list[Artist]) -> None:
    """A legend below the Axes and what is written there, in columns; none when there is nothing to explain."""
    if not handles:
        return
    lines = (2.4 if ax.get_xlabel() else 0) + 0.8
    widths = [text_width(str(handle.get_label())) + 0.55 for handle in handles]
    room = inches_wide(ax)
    columns = len(handles) if sum(widths) < room else max(int(room / max(widths)), 1)
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        borderaxespad=lines,
        ncols=columns,
        fontsize=TEXT_POINTS,
        frameon=False,
    )


@dataclass(frozen=True)
class Ending:
    """How a process ended: words, marker and colour."""

    text: str
    marker: str
    color: str


def ending(process: Process) -> Ending:
    """A square and `exit 0`, in the alarm's colour when not 0; a cross and the signal's name when one ended it."""
    if process.signal:
        return Ending(process.signal, "X", ALARM)
    if process.status is None:
        return Ending("ended", "s", INK)
    return Ending(f"exit {process.status}", "s", ALARM if process.status else INK)


@dataclass(frozen=True)
class Unit:
    """A unit of time: its name, and how many of it make a second."""

    name: str
    per_second: float

    def of(self, seconds: float) -> float:
        """seconds in this unit."""
        return seconds * self.per_second


def unit(seconds: float) -> Unit:
    """The unit for a figure that covers so many seconds."""
    if seconds < 0.002:
        return Unit("µs", 1e6)
    return Unit("ms", 1e3) if seconds < 10 else Unit("s", 1.0)


def text_width(text: str, points: float = TEXT_POINTS) -> float:
    """About how wide a text is, in inches. An average letter is six tenths of its size wide."""
    return len(text) * points * 0.6 / 72


def process_labels(trace: Trace, names: Mapping[int | None, str] | None = None) -> dict[int | None, str]:
    """pid → label: the program, and `child N` for what a fork made and no exec changed. names go first."""
    names = names or {}
    commands = {process.pid: process.command for process in trace.processes}
    labels: dict[int, str] = {}
    children: dict[int, int] = {}
    for process in trace.processes:
        if process.pid in names:
            labels[process.pid] = names[process.pid]
            continue
        label = program(process.command)
        if process.parent in commands and commands[process.parent] == process.command:
            children[process.parent] = children.get(process.parent, 0) + 1
            label = f"child {children[process.parent]}"
        labels[process.pid] = f"{label} · pid {process.pid}"
    for pid, name in names.items():
        labels.setdefault(pid, name)
    return labels


def program(command: str) -> str:
    """The name of the program that a command runs: `python3 -u labs/x.py --port 0` is x.py."""
    words = _words(command)
    if not words:
        return "process"
    first = os.path.basename(words[0])
    if not first.startswith("python"):
        return first
    script = next((word for word in words[1:] if not word.startswith("-")), "")
    if "-c" in words[1:] and words.index("-c") < len(words) - 1:
        return f"{first} -c"
    return os.path.basename(script) or first


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def printable(text: str, limit: int = 24) -> str:
    """text in quotes as Python would write it, cut to limit characters."""
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return f"“{shown}”" if len(shown) <= limit else f"“{shown[: limit - 1]}…”"


def plain(text: str) -> str:
    """text for matplotlib, which takes what stands between two dollar signs for mathematics."""
    return text.replace("$", r"\$")


def size(count: int) -> str:
    """A number of bytes: 12 B, 64 KiB."""
    if count < 10240:
        return f"{count} B"
    return f"{count / 1024:.0f} KiB" if count < 10 * 1024**2 else f"{count / 1024**2:.0f} MiB"

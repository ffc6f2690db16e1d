"""The figures, each an Axes that carries its data as `chatlab_rows`: deliveries, latency and memory against clients."""

from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from benchmarks import tables
from benchmarks.results import MEMORY, P99, RATE, Results
from benchmarks.servers import FORKS, REFERENCE
from chatlab.plot import style

HEIGHT_INCHES = 4.6
DOTS_PER_INCH = 150
# In grey the markers and dashes tell the servers apart, and each line has its name at its end.
LOOKS = {
    REFERENCE: ("#000000", "o", "-"),
    FORKS: ("#009e73", "P", (0, (8, 2))),
    "C batched": ("#0072b2", "s", "--"),
    "C per read": ("#56b4e9", "D", ":"),
    "asyncio": ("#d55e00", "^", "--"),
    "uvloop": ("#e69f00", "v", "-."),
    "asyncio streams": ("#cc79a7", "<", ":"),
}
OTHERS = [("#8c6d31", "h", "-"), ("#666666", "X", "-."), ("#7f3c8d", "*", "--")]
NEXT_TICK = 1.2  # labels of sizes that lie closer together would cover each other

FIGURES = {"deliveries.png": RATE, "latency.png": P99, "memory.png": MEMORY}
TITLES = {
    RATE: "Deliveries per second against clients, 64-byte lines",
    P99: "99 of 100 deliveries are faster: p99 against clients, 200 messages per second",
    MEMORY: "Memory of the server against idle clients",
}
UNITS = {RATE: ("deliveries per second", 1.0), P99: ("latency, p99 (ms)", 1e3), MEMORY: ("resident memory (MB)", 1e-6)}


def draw_all(results: Results, folder: Path) -> list[Path]:
    """Write every figure that there are figures for into the folder; their paths. Raises OSError."""
    paths = []
    for name, kind in FIGURES.items():
        if results.sizes(kind):
            axes = against_clients(results, kind)
            axes.figure.savefig(folder / name, dpi=DOTS_PER_INCH)
            plt.close(axes.figure)
            paths.append(folder / name)
    return paths


def against_clients(results: Results, kind: str) -> Axes:
    """A line for each server, with the rounds' spread as a thin bar at each point.

    Both axes are logarithmic, except for memory: there a line's slope is the memory of one client. A process for each
    client takes so much more that all others would lie on the axis: it is left to the tables.
    """
    label, factor = UNITS[kind]
    axes = style.axes(None, HEIGHT_INCHES)
    if kind != MEMORY:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.chatlab_rows = []
    ends = []
    others = iter(OTHERS * len(results.servers))
    servers = [server for server in results.servers if kind != MEMORY or server != FORKS]
    for server in servers or results.servers:
        look = LOOKS.get(server) or next(others)
        points = [(clients, results.median(kind, server, clients)) for clients in results.sizes(kind)]
        points = [(clients, value * factor) for clients, value in points if value is not None]
        if not points:
            continue
        for clients, value in points:
            values = [factor * each for each in results.values(kind, server, clients)]
            axes.plot([clients, clients], [min(values), max(values)], color=look[0], linewidth=0.8)
            axes.chatlab_rows.append({"server": server, "clients": clients, "value": value})
        _draw(axes, points, look, server in (REFERENCE, FORKS))
        ends.append((points[-1], _name_at_end(results, kind, server), look[0]))
    _label(axes, TITLES[kind], label, results.sizes(kind))
    if kind == MEMORY:
        axes.set_ylim(bottom=0)
    _name(axes, ends)
    return axes


def _name_at_end(results: Results, kind: str, server: str) -> str:
    cost = results.bytes_per_client(server) if kind == MEMORY else None
    return server if cost is None else f"{server}: {tables.per_client(cost)} per client"


def _draw(axes: Axes, points: list[tuple[int, float]], look: tuple, is_of_the_course: bool) -> None:
    color, marker, dashes = look
    width, size = (2.2, 6) if is_of_the_course else (1.3, 5)
    axes.plot(*zip(*points, strict=True), color=color, marker=marker, linestyle=dashes, linewidth=width,
              markersize=size, zorder=3)  # fmt: skip


def _name(axes: Axes, ends: list[tuple[tuple[int, float], str, str]]) -> None:
    """Each line's name behind the end of the longest; names that would cover each other are moved apart."""
    axes.figure.draw_without_rendering()
    least = 1.3 * style.TEXT_POINTS * axes.figure.dpi / 72
    lowest = -float("inf")
    last = max((x for (x, _), _, _ in ends), default=0)
    for (x, y), name, color in sorted(ends, key=lambda end: end[0][1]):
        at = axes.transData.transform((last, y))[1]
        lowest = max(at, lowest + least)
        axes.annotate(name, (last, y), xytext=(10, (lowest - at) * 72 / axes.figure.dpi), textcoords="offset points",
                      va="center", fontsize=style.TEXT_POINTS, color=color, annotation_clip=False)  # fmt: skip
        if x < last:  # a thread from the line's end to its name
            axes.plot([x, last], [y, y], color=color, linestyle=(0, (1, 4)), linewidth=0.8)


def _label(axes: Axes, title: str, label: str, sizes: list[int]) -> None:
    axes.set_title(title, fontsize=style.TITLE_POINTS, loc="left", color=style.INK)
    axes.set_xlabel("clients in the room", fontsize=style.TEXT_POINTS)
    axes.set_ylabel(label, fontsize=style.TEXT_POINTS)
    shown = [size for before, size in pairwise([0, *sizes]) if size > NEXT_TICK * before]
    axes.set_xticks(sizes, [str(size) if size in shown else "" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="both", axis="y", color=style.PALE, linewidth=0.6)


def short(value: float) -> str:
    """A number at an axis: 0.1, 100, 10 k, 1 M."""
    for factor, letter in ((1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:g}{letter}"
    return f"{value:g}"

"""Figures in prose: `chatlab bench --keep` writes them, from the run that is kept, between marks in a page.

A mark is `<!-- bench: NAME -->`, its end `<!-- /bench -->`; NAME is one of BLOCKS. A test holds every page against
the results, so that no figure is typed by hand, and none is of another run.
"""

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks import tables
from benchmarks.results import MEMORY, P99, RATE, Results
from benchmarks.servers import FORKS, REFERENCE, ROOT, BenchError

RESULTS = ROOT / "benchmarks" / "results" / "results.json"
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
MARK = re.compile(r"(<!-- bench: (?P<name>\w+) -->\n?)(?P<text>.*?)(\n?<!-- /bench -->)", re.DOTALL)


def machine(results: Results) -> str:
    """Where and when, as a sentence."""
    about = results.about
    versions = about["versions"]
    made = [f"Python {versions['python']}", *(f"{name} {versions[name]}" for name in ("uvloop",) if name in versions)]
    if "cc" in versions:
        made.append(f"cc: {versions['cc']}")
    return (
        f"Measured on {about['date']}: {about['processor']}, {about['cores']} cores, "
        f"{about['memory_bytes'] / 1e9:.0f} GB, Linux {about['kernel']}; {', '.join(made)}; "
        f"medians of {results.plan.rounds} rounds."
    )


def summary(results: Results) -> str:
    """Lab 04 in one sentence."""
    clients = 900 if 900 in results.sizes(RATE) else max(results.sizes(RATE))
    peers = [
        f"{results.ratio(RATE, peer, clients):.1f} times {words}"
        for peer, words in (("C batched", "the batched relay in C"), ("asyncio", "asyncio"), ("uvloop", "uvloop"))
        if results.ratio(RATE, peer, clients) is not None
    ]
    words = f"In a room of {clients} clients lab 04's server delivers "
    words += f"{tables.rate(results.median(RATE, REFERENCE, clients))} lines a second: {', '.join(peers)}."
    memory = max(results.sizes(MEMORY), default=None)
    if memory:
        words += f" {memory} idle clients take {tables.size(results.median(MEMORY, REFERENCE, memory))}."
    return words


def generator(results: Results) -> str:
    """How hard the load generator had to work, and beside whom it set the pace."""
    shares = {
        (server, clients): results.generator(server, clients)
        for server in results.servers
        for clients in results.sizes(RATE)
    }
    busy = {place: share for place, share in shares.items() if share is not None}
    (server, clients), share = max(busy.items(), key=lambda item: item[1])
    return f"The load generator used at most {share:.0%} of its core, with {server} and {clients} clients."


def spread(results: Results) -> str:
    """How far the rounds of one figure lie apart at most, for each kind."""
    words = []
    for kind in (RATE, P99):
        found = [
            (max(abs(value / median - 1) for value in results.values(kind, server, clients)), server, clients)
            for server in results.servers
            for clients in results.sizes(kind)
            if (median := results.median(kind, server, clients))
        ]
        if found:
            share, server, clients = max(found)
            words.append(f"by {share:.0%} in {kind} ({server}, {clients} clients)")
    return f"The round farthest from its median differs {' and '.join(words)}."


def children(results: Results) -> str:
    """Lab 05's table, once a run with it is kept."""
    if FORKS not in results.servers:
        return f"{FORKS} is not in the run that is kept."
    return tables.markdown(tables.children(results))


BLOCKS: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    "summary": summary,
    "generator": generator,
    "spread": spread,
    "figures": lambda results: tables.markdown(tables.figures(results)),
    "ratios": lambda results: tables.markdown(tables.ratios(results)),
    "children": children,
    "targets": lambda results: tables.markdown(tables.targets(results)),
}


def written(text: str, results: Results) -> str:
    """The page's text with every block as the results have it. Raises BenchError for a name that there is not."""

    def block(found: re.Match) -> str:
        if found["name"] not in BLOCKS:
            raise BenchError(f"there is no block {found['name']}: there are {', '.join(BLOCKS)}")
        return found[1] + BLOCKS[found["name"]](results) + found[4]

    return MARK.sub(block, text)


def write_all() -> list[Path]:
    """Write every page anew from the results that are kept; those that have changed. Raises BenchError, OSError."""
    results = Results.read(RESULTS)
    changed = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        new = written(text, results)
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed

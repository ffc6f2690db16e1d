"""The tables, as lists of rows of text: figures by server, lab 04's ratios, the labs' targets."""

from benchmarks.results import FIRST_LINE, MEMORY, P99, PRIVATE, RATE, TARGETS, Results, Target
from benchmarks.servers import FORKS, REFERENCE

NOTHING = "–"


def rate(value: float | None) -> str:
    """Deliveries per second: 6.61 M."""
    if value is None:
        return NOTHING
    return f"{value / 1e6:.2f} M" if value >= 1e5 else f"{value / 1e3:.1f} k"


def seconds(value: float | None) -> str:
    """A latency: 29.1 ms, 310 ms, 0.05 ms."""
    if value is None:
        return NOTHING
    milliseconds = value * 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.{1 if milliseconds >= 10 else 2}f} ms"


def size(value: float | None) -> str:
    """Memory: 38.2 MB, in millions of bytes."""
    return NOTHING if value is None else f"{value / 1e6:.1f} MB"


def per_client(value: float | None) -> str:
    """The memory of one client: 0.55 kB."""
    return NOTHING if value is None else f"{value / 1e3:.2f} kB"


SHOWN = {RATE: rate, P99: seconds, MEMORY: size, FIRST_LINE: seconds, PRIVATE: size}
HEADS = {RATE: "{} clients", P99: "p99, {}", MEMORY: "memory, {}", FIRST_LINE: "first line, {}", PRIVATE: "a child, {}"}


def figures(results: Results) -> tuple[list[str], list[list[str]]]:
    """A row for each server: the medians of every kind and number of clients, and the memory of a client."""
    columns = _columns(results, RATE, P99, MEMORY)
    head = ["server", *(HEADS[kind].format(clients) for kind, clients in columns)]
    rows = [_row(results, server, columns) for server in results.servers]
    if len(results.sizes(MEMORY)) > 1:
        head.append("per client")
        for row in rows:
            row.append(per_client(results.bytes_per_client(row[0])))
    return head, rows


def _columns(results: Results, *kinds: str) -> list[tuple[str, int]]:
    """What every server was measured with: not the sizes that are for some of them only."""
    more = set(results.plan.more_throughput) - set(results.plan.throughput)
    return [(kind, size) for kind in kinds for size in results.sizes(kind) if kind != RATE or size not in more]


def _row(results: Results, server: str, columns: list[tuple[str, int]]) -> list[str]:
    return [server, *(SHOWN[kind](results.median(kind, server, clients)) for kind, clients in columns)]


def children(results: Results) -> tuple[list[str], list[list[str]]]:
    """What a process for each client gives and takes, where it has targets."""
    sizes = [target.clients for target in TARGETS if target.server == FORKS and target.kind == RATE]
    columns = [(RATE, clients) for clients in results.sizes(RATE) if clients in sizes]
    columns += [(kind, clients) for kind in (FIRST_LINE, PRIVATE) for clients in results.sizes(kind)]
    rows = [_row(results, server, columns) for server in results.servers]
    return ["server", *(HEADS[kind].format(clients) for kind, clients in columns)], rows


def ratios(results: Results) -> tuple[list[str], list[list[str]]]:
    """A row for each server beside lab 04's: how often lab 04's figure contains it, for every number of clients."""
    columns = _columns(results, RATE, P99)
    head = [f"{REFERENCE} divided by", *(HEADS[kind].format(clients) for kind, clients in columns)]
    rows = []
    for server in results.servers:
        if server != REFERENCE:
            found = [results.ratio(kind, server, clients) for kind, clients in columns]
            rows.append([server, *(NOTHING if value is None else f"{value:.2f}" for value in found)])
    return head, rows


def targets(results: Results) -> tuple[list[str], list[list[str]]]:
    """A row for each target that this run can be held against."""
    head = ["what", "clients", "server", "beside", "target", "measured", "met"]
    rows = []
    for target in TARGETS:
        value = results.target_value(target)
        if value is not None:
            row = [target.kind, str(target.clients), target.server, target.peer or "nobody", target.words]
            rows.append([*row, _shown(target, value), "yes" if target.is_met(value) else "no"])
    return head, rows


def _shown(target: Target, value: float) -> str:
    return f"{value:.2f}" if target.peer else SHOWN[target.kind](value)


def markdown(table: tuple[list[str], list[list[str]]]) -> str:
    """A table in Markdown."""
    head, rows = table
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))

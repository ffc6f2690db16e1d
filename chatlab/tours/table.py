"""A trace as a small text table: which process held which descriptor, from when to when."""

from collections.abc import Sequence

from chatlab.trace import Trace

HEADINGS = ("process", "fd", "names", "came by", "opened ms", "closed ms")


def descriptors(trace: Trace, kinds: Sequence[str]) -> list[str]:
    """The lines of the table; none when nothing was seen. kinds: of the descriptors; times count from the first."""
    chosen = [record for record in trace.descriptors if record.kind in kinds]
    if not chosen:
        return []
    zero = min(record.opened for record in chosen)
    labels = _labels(trace)
    rows = [
        (
            labels.get(record.pid, f"process {record.pid}"),
            str(record.fd),
            record.name,
            record.how,
            _milliseconds(record.opened - zero),
            "-" if record.closed is None else _milliseconds(record.closed - zero),
        )
        for record in sorted(chosen, key=lambda record: (record.pid, record.opened, record.fd))
    ]
    return _aligned([HEADINGS, *rows])


def _labels(trace: Trace) -> dict[int, str]:
    pids = {process.pid for process in trace.processes}
    return {
        process.pid: f"{'child' if process.parent in pids else 'parent'} {process.pid}" for process in trace.processes
    }


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    numbers = {1, 4, 5}
    return [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]

"""What was measured, as it is kept in JSON: samples, medians, the labs' targets, and where and when it was."""

import datetime
import json
import os
import platform
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import (
    FIRST_LINE,
    LINE_BYTES,
    MEMORY,
    MESSAGES_PER_SECOND,
    P99,
    PRIVATE,
    RATE,
    WINDOW,
    Fault,
    Plan,
    Sample,
)
from benchmarks.servers import FORKS, REFERENCE, BenchError


@dataclass(frozen=True)
class Target:
    """What a lab's server is to reach: its figure divided by the peer's, or, without a peer, its figure itself."""

    kind: str
    clients: int
    peer: str | None
    least: float | None = None
    most: float | None = None
    server: str = REFERENCE

    @property
    def words(self) -> str:
        """The target as people read it: "≥ 2", "≤ 40 MB", "≤ 10 ms"."""
        if self.peer is None:
            return f"≤ {self.most * 1e3:g} ms" if self.kind == FIRST_LINE else f"≤ {self.most / 1e6:g} MB"
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"

    def is_met(self, value: float) -> bool:
        """Whether the ratio (or the figure) is good enough."""
        return value >= self.least if self.least is not None else value <= self.most


def _rates(clients: int, batched: float, per_read: float, asyncio: float) -> list[Target]:
    least = {"C batched": batched, "C per read": per_read, "asyncio": asyncio, "uvloop": asyncio}
    return [Target(RATE, clients, peer, least=bound) for peer, bound in least.items()]


TARGETS = [
    *_rates(100, 0.8, 1.3, 1.5),
    *_rates(900, 0.9, 2, 3),
    *_rates(5000, 0.9, 2, 3),
    Target(P99, 1000, "asyncio", most=0.25),
    Target(MEMORY, 5000, None, most=40e6),
    Target(RATE, 100, "C per read", least=0.4, server=FORKS),
    Target(RATE, 400, "C per read", least=1, server=FORKS),
    Target(RATE, 1000, "C per read", least=1, server=FORKS),
    Target(FIRST_LINE, 100, None, most=10e-3, server=FORKS),
    Target(PRIVATE, 100, None, most=2e6, server=FORKS),
    Target(PRIVATE, 1000, None, most=2e6, server=FORKS),
]


@dataclass
class Results:
    """One benchmark run. Figures are medians over its rounds."""

    servers: list[str]
    left_out: dict[str, str]
    plan: Plan
    samples: list[Sample] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    about: dict = field(default_factory=dict)

    def add(self, what: list[Sample] | Fault) -> None:
        """Keep what one visit to a server gave."""
        if isinstance(what, Fault):
            self.faults.append(what)
        else:
            self.samples += what

    def median(self, kind: str, server: str, clients: int) -> float | None:
        """The median over the rounds; None when it was not measured, or went wrong in some round."""
        if any(fault.server == server and fault.clients == clients for fault in self.faults):
            return None
        values = self.values(kind, server, clients)
        return statistics.median(values) if values else None

    def values(self, kind: str, server: str, clients: int) -> list[float]:
        """The figures of the rounds."""
        return [sample.value for sample in self._of(kind, server, clients)]

    def generator(self, server: str, clients: int) -> float | None:
        """The share of its core that the load generator used while deliveries were counted: near 1, it set the pace."""
        shares = [sample.generator for sample in self._of(RATE, server, clients)]
        return statistics.median(shares) if shares else None

    def _of(self, kind: str, server: str, clients: int) -> list[Sample]:
        return [
            sample for sample in self.samples if (sample.kind, sample.server, sample.clients) == (kind, server, clients)
        ]

    def sizes(self, kind: str) -> list[int]:
        """The numbers of clients that the kind was measured with."""
        return sorted({sample.clients for sample in self.samples if sample.kind == kind})

    def bytes_per_client(self, server: str) -> float | None:
        """What a client more costs the server: the slope between the fewest and the most idle clients."""
        sizes = self.sizes(MEMORY)
        few, many = (self.median(MEMORY, server, sizes[place]) for place in (0, -1)) if len(sizes) > 1 else (None, None)
        return None if few is None or many is None else (many - few) / (sizes[-1] - sizes[0])

    def ratio(self, kind: str, peer: str, clients: int, server: str = REFERENCE) -> float | None:
        """The server's figure divided by the peer's."""
        own, other = self.median(kind, server, clients), self.median(kind, peer, clients)
        return own / other if own is not None and other else None

    def target_value(self, target: Target) -> float | None:
        """What a target is held against; None when it was not measured."""
        if target.peer is None:
            return self.median(target.kind, target.server, target.clients)
        return self.ratio(target.kind, target.peer, target.clients, target.server)

    def write(self, path: Path) -> None:
        """Keep everything as JSON. Raises OSError."""
        kept = {
            "about": self.about,
            "plan": {name: getattr(self.plan, name) for name in Plan.__dataclass_fields__}
            | {"line_bytes": LINE_BYTES, "window": WINDOW, "messages_per_second": MESSAGES_PER_SECOND},
            "servers": self.servers,
            "left_out": self.left_out,
            "faults": [vars(fault) for fault in self.faults],
        }
        rows = ",\n".join(f"  {json.dumps(sample.as_row())}" for sample in self.samples)
        head = json.dumps(kept, indent=1, ensure_ascii=False).removesuffix("\n}")
        path.write_text(f'{head},\n "samples": [\n{rows}\n ]\n}}\n', encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Results":
        """What `write` kept. Raises BenchError."""
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            fields = ("rounds", "throughput", "latency", "memory", "seconds", "warmup")
            plan = {name: kept["plan"][name] for name in fields}
            # What older runs did not measure is not in their plan.
            plan |= {name: kept["plan"].get(name, []) for name in Plan.__dataclass_fields__ if name not in fields}
            return cls(
                kept["servers"],
                kept["left_out"],
                Plan(**{name: tuple(value) if isinstance(value, list) else value for name, value in plan.items()}),
                [Sample(**row) for row in kept["samples"]],
                [Fault(**row) for row in kept["faults"]],
                kept["about"],
            )
        except OSError as error:
            raise BenchError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{path} does not hold results of this benchmark: {error!r}") from None


def about_here(versions: dict[str, str], pinned: bool) -> dict:
    """Where and when: the date, the machine, the versions, and whether server and generator had a core each."""
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) * 1024
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "pinned": pinned,
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version(), **versions},
    }


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()

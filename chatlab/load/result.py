"""What came out of a run, as arrays ready to plot."""

import time
from array import array
from dataclasses import dataclass, field

import numpy

from chatlab.load.errors import LoadError

MOST_SAMPLES = 1 << 20


@dataclass(frozen=True)
class Result:
    """One run. Times are seconds; `latency` and `at` hold every `sampled`-th delivery. See docs/kit.md, "load"."""

    clients: int
    senders: int
    size: int
    window: int | None
    rate: float | None
    seconds: float
    lines: int
    deliveries: int
    latency: numpy.ndarray = field(repr=False)
    at: numpy.ndarray = field(repr=False)
    completion: numpy.ndarray = field(repr=False)
    sampled: int
    maximum: float
    busy: float
    behind: float
    faults: dict[str, int]
    examples: list[str]

    @property
    def p50(self) -> float:
        """Seconds within which half of the deliveries arrived."""
        return self.percentile(50)

    @property
    def p90(self) -> float:
        """Seconds within which nine of ten deliveries arrived."""
        return self.percentile(90)

    @property
    def p99(self) -> float:
        """Seconds within which 99 of 100 deliveries arrived."""
        return self.percentile(99)

    def percentile(self, percent: float) -> float:
        """Seconds within which that share of the deliveries arrived; nan when none did."""
        return float(numpy.percentile(self.latency, percent)) if len(self.latency) else float("nan")

    @property
    def deliveries_per_second(self) -> float:
        """Lines that arrived, summed over the clients, a second."""
        return self.deliveries / self.seconds

    @property
    def lines_per_second(self) -> float:
        """Lines that everybody got, a second."""
        return self.lines / self.seconds

    @property
    def ok(self) -> bool:
        """Whether every line came whole, once, in order and not to its sender, and every client stayed."""
        return not any(self.faults.values())

    def require(self) -> "Result":
        """The result itself. Raises LoadError when there was a fault."""
        if not self.ok:
            counts = ", ".join(f"{count} {kind}" for kind, count in self.faults.items() if count)
            raise LoadError(f"{counts}; {self.examples[0]}")
        return self


class Sample:
    """Latencies of every `step`-th delivery, few enough to keep: the step doubles whenever there are too many.

    Only a slice is copied for a chunk of lines; the arithmetic is done once, at the end.
    """

    def __init__(self):
        self.step = 1
        self.deliveries = 0
        self._sent = array("d")
        self._arrivals = array("d")
        self._counts = array("q")

    def note(self, sent: array, now: float) -> None:
        """These lines, by when they were sent, arrived together at one client."""
        # The phase keeps every step-th of all deliveries, however they are divided into chunks.
        chosen = sent[-self.deliveries % self.step :: self.step]
        self.deliveries += len(sent)
        if chosen:
            self._sent.extend(chosen)
            self._arrivals.append(now)
            self._counts.append(len(chosen))
            if len(self._sent) > MOST_SAMPLES:
                self._halve()

    def _halve(self) -> None:
        sent, arrivals = self._columns()
        self.step *= 2
        self._sent = array("d", sent[::2].tobytes())
        self._arrivals = array("d", arrivals[::2].tobytes())
        self._counts = array("q", numpy.ones(len(self._sent), dtype="i8").tobytes())

    def _columns(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        arrivals = numpy.repeat(numpy.array(self._arrivals), numpy.array(self._counts, dtype="i8"))
        return numpy.array(self._sent), arrivals

    def arrays(self, begin: float) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Latency and arrival (seconds since `begin`) of the deliveries of lines sent from `begin` on."""
        sent, arrivals = self._columns()
        counted = sent >= begin
        return (arrivals - sent)[counted], arrivals[counted] - begin


class Meter:
    """Lines, deliveries and this process's own time on a processor, between two moments. The first of each counts."""

    def __init__(self):
        self._began: tuple[float, ...] | None = None
        self._ended: tuple[float, ...] | None = None

    def start(self, now: float, deliveries: int, lines: int) -> None:
        if self._began is None:
            self._began = (now, deliveries, lines, time.process_time())

    def stop(self, now: float, deliveries: int, lines: int) -> None:
        if self._ended is None:
            self.start(now, deliveries, lines)
            self._ended = (now, deliveries, lines, time.process_time())

    def _between(self, index: int) -> float:
        return self._ended[index] - self._began[index]

    @property
    def seconds(self) -> float:
        return max(self._between(0), 1e-9)

    @property
    def deliveries(self) -> int:
        return self._between(1)

    @property
    def lines(self) -> int:
        return self._between(2)

    @property
    def processor(self) -> float:
        return self._between(3)

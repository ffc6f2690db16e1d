"""The rounds: each server in turn gets every workload, so that a change on the machine meets all of them alike."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from benchmarks.servers import BenchError, Server
from chatlab import procfs
from chatlab.launch import LaunchError
from chatlab.launch.program import Program, describe_status
from chatlab.load import LoadError, Room

LINE_BYTES = 64
WINDOW = 16
MESSAGES_PER_SECOND = 200
END_SECONDS = 0.5


@dataclass(frozen=True)
class Plan:
    """What one benchmark measures. Sizes are numbers of clients; seconds are of each measurement."""

    rounds: int = 5
    throughput: tuple[int, ...] = (10, 100, 900, 5000)
    latency: tuple[int, ...] = (10, 100, 1000)
    memory: tuple[int, ...] = (1000, 5000)
    seconds: float = 1.5
    warmup: float = 0.5

    @property
    def sizes(self) -> list[int]:
        """Each number of clients, once, in order."""
        return sorted({*self.throughput, *self.latency, *self.memory})


QUICK = Plan(rounds=1, throughput=(10, 100, 900), latency=(100, 1000), memory=(1000,), seconds=0.5, warmup=0.2)


@dataclass
class Sample:
    """One figure of one server in one round. `kind` is "deliveries per second", "p99 seconds" or "resident bytes".

    generator, core: the share of a core that the load generator, and the server, used meanwhile.
    """

    kind: str
    round: int
    server: str
    clients: int
    value: float
    generator: float | None = None
    core: float | None = None

    def as_row(self) -> dict:
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Fault:
    """A server that could not be measured with so many clients: why, in one line."""

    server: str
    clients: int
    words: str


def steps(plan: Plan, servers: list[Server]) -> int:
    """How many times `measure` yields at most, for a progress bar."""
    return plan.rounds * len(plan.sizes) * len(servers)


def measure(
    plan: Plan, servers: list[Server], pinned: bool, announce: Callable[[str], None]
) -> Iterator[list[Sample] | Fault]:
    """Yield the samples of each round, size and server in turn, or the fault that ended it; each is announced before.

    A server is measured no further with a number of clients that it had a fault with.
    """
    given_up = set()
    for number in range(1, plan.rounds + 1):
        for clients in plan.sizes:
            for server in servers:
                announce(f"round {number} of {plan.rounds}, {clients} clients: {server.name}")
                if (server, clients) in given_up:
                    yield []
                    continue
                try:
                    yield visit(plan, number, server, clients, pinned)
                except (LaunchError, LoadError, BenchError) as error:
                    given_up.add((server, clients))
                    yield Fault(server.name, clients, " ".join(str(error).split()))


def visit(plan: Plan, number: int, server: Server, clients: int, pinned: bool) -> list[Sample]:
    """Start one server, let `clients` join it, and take every figure that the plan has for that many.

    Raises LaunchError, LoadError, and BenchError when the server ended meanwhile.
    """
    with cores(pinned) as leave_the_core, server.running() as (program, address):
        leave_the_core()
        try:
            with Room(address, clients) as room:
                return list(samples(plan, number, server, clients, room, program.pid))
        except LoadError as error:
            if (words := last_words(program)) is None:
                raise
            raise BenchError(f"the server ended: {words}") from error


def samples(plan: Plan, number: int, server: Server, clients: int, room: Room, pid: int) -> Iterator[Sample]:
    """The figures of one server with one room: memory while all are idle, deliveries, latency."""
    if clients in plan.memory:
        yield Sample("resident bytes", number, server.name, clients, resident_bytes(pid))
    if clients in plan.throughput:
        before = cpu_seconds(pid)
        result = room.closed_loop(window=WINDOW, size=LINE_BYTES, seconds=plan.seconds, warmup=plan.warmup).require()
        share = min(1.0, (cpu_seconds(pid) - before) / (plan.seconds + plan.warmup))
        rate = result.deliveries_per_second
        yield Sample("deliveries per second", number, server.name, clients, rate, result.busy, share)
    if clients in plan.latency:
        result = room.fixed_rate(MESSAGES_PER_SECOND, plan.seconds, size=LINE_BYTES, warmup=plan.warmup).require()
        yield Sample("p99 seconds", number, server.name, clients, result.p99, result.busy)


def last_words(program: Program) -> str | None:
    """How the server ended, and what it said last; None when it runs."""
    try:
        status = describe_status(program.wait(END_SECONDS))
    except LaunchError:
        return None
    words = program.log.strip().splitlines()
    return f"{status}: {words[-1]}" if words else status


@contextmanager
def cores(pinned: bool):
    """Give the server one core and the generator another: yields what this process calls once the server runs."""
    allowed = sorted(os.sched_getaffinity(0))
    if not pinned or len(allowed) < 2:
        yield lambda: None
        return
    os.sched_setaffinity(0, {allowed[0]})  # inherited by what is started now, all of its threads and children
    try:
        yield lambda: os.sched_setaffinity(0, {allowed[1]})
    finally:
        os.sched_setaffinity(0, set(allowed))


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    return [pid, *(stat.pid for stat in procfs.descendants(pid))]


def resident_bytes(pid: int) -> int:
    """The memory of a server: its Rss, in bytes. Of one with children the sum of Pss; proc_pid_smaps(5).

    In Pss a page that k processes share counts 1/k in each, whoever they are. Raises BenchError.
    """
    processes = tree(pid)
    return sum(memory(each, "Pss:" if len(processes) > 1 else "Rss:") for each in processes)


def memory(pid: int, key: str) -> int:
    """One line of /proc/PID/smaps_rollup, in bytes. Raises BenchError."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))
    except OSError as error:
        raise BenchError(f"the memory of process {pid} cannot be read: {error.strerror}") from None


def cpu_seconds(pid: int) -> float:
    """User and system time that the tree has used so far: utime and stime, proc_pid_stat(5)."""
    ticks = 0
    for each in tree(pid):
        try:
            with open(f"/proc/{each}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")

"""The rounds: each server in turn gets every workload, so that a change on the machine meets all of them alike."""

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass

from benchmarks.servers import BenchError, Server
from chatlab import procfs
from chatlab.launch import LaunchError
from chatlab.launch.program import Program, describe_status
from chatlab.load import Client, LoadError, Room, admit

RATE, P99, MEMORY = "deliveries per second", "p99 seconds", "resident bytes"
FIRST_LINE, PRIVATE = "seconds to the first line", "private bytes of a child"
LINE_BYTES = 64
WINDOW = 16
MESSAGES_PER_SECOND = 200
NEWCOMERS = 20
END_SECONDS = 0.5
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Plan:
    """What one benchmark measures. Sizes are numbers of clients; seconds are of each measurement.

    more_throughput: further sizes, for those servers only that are measured with them. private: for servers with a
    process for each client.
    """

    rounds: int = 5
    throughput: tuple[int, ...] = (10, 100, 900, 5000)
    more_throughput: tuple[int, ...] = (400, 1000)
    latency: tuple[int, ...] = (10, 100, 1000)
    memory: tuple[int, ...] = (1000, 5000)
    first_line: tuple[int, ...] = (100,)
    private: tuple[int, ...] = (100, 1000)
    seconds: float = 1.5
    warmup: float = 0.5

    @property
    def sizes(self) -> list[int]:
        """Each number of clients, once, in order."""
        everywhere = {*self.throughput, *self.latency, *self.memory, *self.first_line}
        return sorted({*everywhere, *self.more_throughput, *self.private})

    def kinds(self, server: Server, clients: int) -> list[str]:
        """What is measured of a server with so many clients, in this order."""
        if server.most is not None and clients > server.most:
            return []
        rates = self.throughput + (self.more_throughput if server.with_more_sizes else ())
        private = self.private if server.with_children else ()
        sizes = {MEMORY: self.memory, RATE: rates, P99: self.latency, PRIVATE: private, FIRST_LINE: self.first_line}
        return [kind for kind, numbers in sizes.items() if clients in numbers]


QUICK = Plan(rounds=1, throughput=(10, 100, 900), latency=(100, 1000), memory=(1000,), private=(100,), seconds=0.5,
             warmup=0.2)  # fmt: skip


@dataclass
class Sample:
    """One figure of one server in one round. `kind` is one of the names above: RATE, P99, MEMORY, FIRST_LINE, PRIVATE.

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
    return plan.rounds * len(visits(plan, servers))


def visits(plan: Plan, servers: list[Server]) -> list[tuple[int, Server]]:
    """A round: each number of clients, and each server that is measured with so many."""
    return [(clients, server) for clients in plan.sizes for server in servers if plan.kinds(server, clients)]


def measure(
    plan: Plan, servers: list[Server], pinned: bool, announce: Callable[[str], None]
) -> Iterator[list[Sample] | Fault]:
    """Yield the samples of each round, size and server in turn, or the fault that ended it; each is announced before.

    A server is measured no further with a number of clients that it had a fault with.
    """
    given_up = set()
    for number in range(1, plan.rounds + 1):
        for clients, server in visits(plan, servers):
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
    """The figures of one server with one room: memory while all are idle, deliveries, latency, children, newcomers."""
    kinds = plan.kinds(server, clients)
    if MEMORY in kinds:
        yield Sample(MEMORY, number, server.name, clients, resident_bytes(pid))
    if RATE in kinds:
        before = cpu_seconds(pid)
        result = room.closed_loop(window=WINDOW, size=LINE_BYTES, seconds=plan.seconds, warmup=plan.warmup).require()
        if result.seconds < plan.seconds / 10:  # it got no core for the rest: a rate would be noise
            raise BenchError(f"only {result.seconds:.2f} of {plan.seconds:g} s were measured: this machine is too busy")
        share = min(1.0, (cpu_seconds(pid) - before) / (plan.seconds + plan.warmup))
        rate = result.deliveries_per_second
        yield Sample(RATE, number, server.name, clients, rate, result.busy, share)
    if P99 in kinds:
        result = room.fixed_rate(MESSAGES_PER_SECOND, plan.seconds, size=LINE_BYTES, warmup=plan.warmup).require()
        yield Sample(P99, number, server.name, clients, result.p99, result.busy)
    if PRIVATE in kinds:
        yield Sample(PRIVATE, number, server.name, clients, private_bytes(room, pid, plan))
    if FIRST_LINE in kinds:  # at the end: what newcomers say stays unread at the others
        yield Sample(FIRST_LINE, number, server.name, clients, first_line_seconds(room.address))


def private_bytes(room: Room, pid: int, plan: Plan) -> int:
    """The memory that the largest of the children has for itself, in bytes, looked at again and again under load.

    Private_Clean and Private_Dirty: pages that no other process has, the USS; proc_pid_smaps(5). Raises BenchError.
    """
    children, over, found = procfs.children(pid), threading.Event(), []

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            seen = [procfs.memory(child) for child in children]
            found.extend(each["Private_Clean"] + each["Private_Dirty"] for each in seen if each)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        room.closed_loop(window=WINDOW, size=LINE_BYTES, seconds=plan.seconds, warmup=plan.warmup).require()
    finally:
        over.set()
        looking.join()
    if not found:
        raise BenchError(f"the memory of the children of process {pid} cannot be read")
    return max(found)


def first_line_seconds(address: tuple[str, int]) -> float:
    """From a newcomer's connect until its first line, sent at once, is at another client: the median, in seconds.

    The newcomers come one after the other, and stay. Raises LoadError.
    """
    took = []
    with Client(address) as listener, Client(address) as other, ExitStack() as stay:
        admit([other, listener])
        for number in range(NEWCOMERS):
            line = (b"newcomer %d " % number).ljust(LINE_BYTES - 1, b".") + b"\n"
            began = time.monotonic()
            stay.enter_context(Client(address)).send(line)
            came = listener.read_line()
            took.append(time.monotonic() - began)
            if came != line:
                raise LoadError(f"the first line of a newcomer is {line!r}, but {came!r} came")
    return statistics.median(took)


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
    """The memory of a server with its children. Raises BenchError."""
    found = procfs.resident_bytes(tree(pid))
    if not found:
        raise BenchError(f"the memory of process {pid} cannot be read")
    return found


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

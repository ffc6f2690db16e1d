"""Thousands of clients of one relay server, from one process: connected, known to be in, and put to work."""

import resource
import select
import socket
import sys
from collections.abc import Callable
from contextlib import contextmanager

from chatlab.launch.program import scale
from chatlab.load.client import shown
from chatlab.load.errors import LoadError, describe, reason
from chatlab.load.membership import admit_sockets
from chatlab.load.order import LARGEST_LINE, SMALLEST_LINE
from chatlab.load.result import Result
from chatlab.load.run import Member, Run
from chatlab.load.work import ClosedLoop, FixedRate

BATCH = (
    64  # connects at a time: fewer than a usual listen(2) backlog, beyond which SYNs are dropped and come again later
)
CONNECT_SECONDS = 5.0
OTHER_DESCRIPTORS = 64
DEFAULT_SENDERS = 64


class Room:
    """`clients` connections to the relay at `address`, (host, port), each known to be in; in a `with` block.

    progress: draw a bar when standard error is a terminal. Raises LoadError: refused, turned away, too few descriptors.
    """

    def __init__(self, address: tuple[str, int], clients: int, *, progress: bool = False):
        if clients < 2:
            raise LoadError(f"{clients} clients: a line needs a sender and a receiver, so 2 at least")
        allow_descriptors(clients)
        self.address = address
        self.poller = select.epoll()  # before the connections: select(2) is used on it, and takes no number above 1023
        self.members: list[Member] = []
        self._progress = progress
        try:
            with bar(progress, f"{clients} clients join") as show:
                self._fill(clients, show)
        except BaseException:
            self.close()
            raise

    def _fill(self, clients: int, show: Callable[[float], None]) -> None:
        while len(self.members) < clients:
            first = self.members[:1]
            batch = first + [self._connect() for _ in range(min(BATCH, clients - len(self.members)))]
            admit_sockets([member.socket for member in batch], [member.number for member in batch])
            show(len(self.members) / clients)
        left = admit_sockets([member.socket for member in self.members])
        if any(left):
            raise LoadError(f"somebody else talks in this room: {shown(next(filter(None, left)))}")
        for member in self.members:
            self.poller.register(member.socket, select.EPOLLIN)

    def _connect(self) -> Member:
        number = len(self.members)
        try:
            connection = socket.create_connection(self.address, timeout=CONNECT_SECONDS * scale())
        except OSError as error:
            after = f", after {number} others" if number else ""
            raise LoadError(f"cannot connect to {describe(self.address)}{after}: {reason(error)}") from error
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.members.append(Member(connection, number))
        return self.members[-1]

    def closed_loop(
        self, *, senders=None, window=16, size=64, seconds=None, lines=None, warmup=0.0, progress=None
    ) -> Result:
        """Each sender keeps `window` lines outstanding. Arguments as for `chatlab.load.closed_loop`."""
        if (seconds is None) == (lines is None):
            raise LoadError("a closed loop needs either seconds=… or lines=…")
        if window < 1:
            raise LoadError(f"a window of {window} lines: 1 at least")
        return self._run(ClosedLoop(window, seconds, lines, warmup), senders, size, progress)

    def fixed_rate(self, rate: float, seconds: float, *, senders=None, size=64, warmup=0.0, progress=None) -> Result:
        """`rate` messages a second for the whole room. Arguments as for `chatlab.load.fixed_rate`."""
        if rate <= 0:
            raise LoadError(f"a rate of {rate:g} messages a second: it must be above 0")
        return self._run(FixedRate(rate, seconds, warmup), senders, size, progress)

    def _run(self, work: ClosedLoop | FixedRate, senders: int | None, size: int, progress: bool | None) -> Result:
        most = len(self.members) - 1  # one only listens: order.py says why
        senders = min(DEFAULT_SENDERS, most) if senders is None else senders
        if not 1 <= senders <= most:
            raise LoadError(f"{senders} senders among {len(self.members)} clients: 1 to {most} are possible")
        if not SMALLEST_LINE <= size <= LARGEST_LINE:
            raise LoadError(f"lines of {size} bytes: {SMALLEST_LINE} to {LARGEST_LINE} are possible")
        with bar(self._progress if progress is None else progress, work.words) as show:
            return Run(self.address, self.poller, self.members, work, senders, size, show).result()

    def close(self) -> None:
        """Close every connection."""
        for member in self.members:
            member.socket.close()
        self.poller.close()

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def closed_loop(
    address, clients, *, senders=None, window=16, size=64, seconds=None, lines=None, warmup=0.0, progress=False
) -> Result:
    """As many lines as the server takes: each sender keeps `window` lines outstanding.

    Arguments: address, (host, port) of a relay; clients, how many connect; senders, how many of them send (default 64,
    and all but one at most); window, lines; size, bytes of a line, its newline included; seconds to measure, or lines
    in all; warmup, seconds before; progress, whether to draw a bar when standard error is a terminal. A line is done,
    and its sender sends the next, when the last of the other clients has it. Returns a Result. Raises LoadError.
    """
    with Room(address, clients, progress=progress) as room:
        return room.closed_loop(senders=senders, window=window, size=size, seconds=seconds, lines=lines, warmup=warmup)


def fixed_rate(address, clients, rate, seconds, *, senders=None, size=64, warmup=0.0, progress=False) -> Result:
    """`rate` messages a second for the whole room, for `seconds`, whatever the server does.

    The senders take turns. The schedule does not slip: latency is counted from the time at which a line was due, so
    that waiting in our own queue counts too. Other arguments as for `closed_loop`. Returns a Result. Raises LoadError.
    """
    with Room(address, clients, progress=progress) as room:
        return room.fixed_rate(rate, seconds, senders=senders, size=size, warmup=warmup)


def allow_descriptors(clients: int) -> None:
    """Raise this process's soft limit of open descriptors where it is too low: getrlimit(2). Raises LoadError."""
    needed = clients + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    if hard < needed:
        raise LoadError(f"{clients} clients need {needed} descriptors, and this process may have {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@contextmanager
def bar(wanted: bool, words: str):
    """A progress bar on standard error, where that is a terminal: gives a function of the share that is done."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task(words, total=1.0)
        yield lambda share: drawn.update(task, completed=share)

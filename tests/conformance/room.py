"""A room: one relay server's address, and the clients that a scenario has in it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from chatlab import procfs
from chatlab.launch.program import scale
from chatlab.load import Client, LoadError, admit
from chatlab.load.client import shown

STOP_SECONDS = 5.0
STOP_LOOK_SECONDS = 0.0002


class Fault(AssertionError):
    """What a server does not do as the contract says. Each part is text: should, but, mistake (the likely one)."""

    def __init__(self, should: str, but: str, mistake: str):
        super().__init__(f"\nshould  {should}\nbut     {but}\nlikely mistake: {mistake}")
        self.should = should
        self.but = but
        self.mistake = mistake


class NotChecked(Exception):
    """The scenario needs what is not there: one line."""


class DoesNotApply(Exception):
    """The scenario is about another kind of server: one line."""


class Room:
    """The server at `address`, (host, port), for one scenario.

    pid: the server's, in the caller's pid namespace, for what is read from /proc; None where it is not known. timeout:
    seconds for each wait, scaled by CHATLAB_TIME_SCALE. Used in a `with` block, at whose end every client is closed.
    """

    def __init__(self, address: tuple[str, int], pid: int | None = None, timeout: float = 5.0):
        self.address = address
        self.pid = pid
        self.timeout = timeout
        self.clients: list[Client] = []
        self._markers = 0  # lines of `settle` so far

    # who is in it

    def connect(self, **options) -> Client:
        """A connected client, not yet known to be in the room. Options as for `Client`."""
        client = Client(self.address, **{"timeout": self.timeout, **options})
        self.clients.append(client)
        return client

    def join(self, count: int, **options) -> list[Client]:
        """`count` new clients, two or more, each known to be in the room."""
        newcomers = [self.connect(**options) for _ in range(count)]
        self.admit(newcomers)
        return newcomers

    def admit(self, clients: list[Client]) -> None:
        """Have these clients known to be in the room, with all probe lines read away. Others in it keep theirs."""
        with likely(
            "let everybody in, and relay a newcomer's line to all others",
            "accept once in each turn of the loop, or a line that never leaves the server",
        ):
            admit(clients)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Whatever clients do in the block is all there when the server looks next: it is stopped, with its children.

        Where its pid is not known it may look at any time; then the same is expected of it, and less is shown.
        """
        if self.pid is None:
            yield
            return
        with frozen(self.pid), frozen(*procfs.children(self.pid)):  # one that is stopped forks no more
            yield

    # what they see

    def settle(
        self, sender: Client, reader: Client, mistake: str = "something is relayed that is not a whole line"
    ) -> None:
        """Two lines pass from sender to reader, the second after the first: what was ready before the first has been
        handled by then, in whatever order the server goes through its descriptors."""
        for _ in range(2):
            self._markers += 1
            marker = b"marker %d" % self._markers
            sender.send_line(marker)
            self.receives(reader, marker + b"\n", mistake=mistake)

    def nothing_else(self, *readers: Client, mistake: str) -> None:
        """Nothing has come to these that they did not read, but lines of `settle`."""
        for reader in readers:
            unread = [line for line in reader.arrived().splitlines(keepends=True) if not line.startswith(b"marker ")]
            came = b"".join(unread)
            self.should(
                not came,
                should="send nothing that is not a line of the room",
                but=f"{shown(came)} came",
                mistake=mistake,
            )

    def receives(self, reader: Client, expected: bytes, *, mistake: str, should: str = "") -> None:
        """What `reader` must read next, byte for byte."""
        should = should or f"relay {shown(expected)}"
        with likely(should, mistake):
            came = reader.read_exactly(len(expected))
        self.should(came == expected, should=should, but=f"{difference(came, expected)}", mistake=mistake)

    def should(self, holds: object, *, should: str, but: str | Callable[[], str], mistake: str) -> None:
        """Raise Fault unless it holds."""
        if not holds:
            raise Fault(should, but() if callable(but) else but, mistake)

    def needs_pid(self) -> int:
        """The server's pid. Raises NotChecked where it is not known."""
        if self.pid is None:
            raise NotChecked("the server's pid is not known here")
        return self.pid

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *exception) -> None:
        for client in self.clients:
            client.close()


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """The processes are stopped in the block, by SIGSTOP, and go on behind it. Those that are gone are left out."""
    deadline = time.monotonic() + STOP_SECONDS * scale()
    try:
        for pid in pids:
            kill(pid, signal.SIGSTOP)
        for pid in pids:  # kill(2) returns before one that is in a system call has come to its end, and stops
            while (entry := procfs.stat(pid)) and entry.state not in "TtZX":
                if time.monotonic() > deadline:
                    raise NotChecked(f"process {pid} was sent SIGSTOP, and does not stop")
                time.sleep(STOP_LOOK_SECONDS)
        for pid in pids[:1]:
            _wait_for_tracer(pid, deadline)
        yield
    finally:
        for pid in pids:
            kill(pid, signal.SIGCONT)


def _wait_for_tracer(pid: int, deadline: float) -> None:
    """strace 6.1 ends when what it traces is killed between its stop and PTRACE_LISTEN: let it come to rest before."""
    tracer = int(procfs.status(pid).get("TracerPid", "0"))
    before = None
    while tracer and time.monotonic() < deadline:
        entry, switches = procfs.stat(tracer), procfs.status(tracer).get("voluntary_ctxt_switches")
        if entry is None or (entry.state == "S" and switches == before):
            return
        before = switches
        time.sleep(STOP_LOOK_SECONDS)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may have gone by now."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@dataclass
class likely:  # noqa: N801  (reads as a statement: with likely(should, mistake))
    """In its block a LoadError becomes a Fault with this `should` and `mistake`."""

    should: str
    mistake: str

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> None:
        if isinstance(error, LoadError):
            raise Fault(self.should, str(error), self.mistake) from error


def difference(came: bytes, expected: bytes) -> str:
    """Where two byte strings part, in words."""
    at = next(
        (i for i, (a, b) in enumerate(zip(came, expected, strict=False)) if a != b), min(len(came), len(expected))
    )
    if at < 40 and len(expected) < 80:
        return f"{shown(came)} came"
    instead = f"{shown(came[at : at + 40])} instead of {shown(expected[at : at + 40])}"
    return f"at byte {at:,} of {len(expected):,} came {instead}"

"""The audit: what a student's process tree looks like from outside, before and after a call."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

# Python's own start-up catches SIGINT and ignores SIGPIPE and SIGXFSZ; they count only when they change.
_KINDS = ("ignored", "caught", "blocked")


@dataclass(frozen=True)
class ProcessState:
    """One process: state is /proc's letter; waits_in is "read() on descriptor 4", or empty when it runs."""

    pid: int
    parent: int
    state: str
    command: str
    descriptors: Mapping[int, str]
    waits_in: str
    ignored: frozenset[str]
    caught: frozenset[str]
    blocked: frozenset[str]

    @property
    def waiting_descriptor(self) -> int | None:
        """The descriptor that it waits on, if it waits on one."""
        word = self.waits_in.rpartition(" ")[2]
        return int(word) if word.isdigit() else None

    @property
    def is_zombie(self) -> bool:
        """Ended, and not yet waited for."""
        return self.state in "ZX"


@dataclass(frozen=True)
class Audit:
    """The whole tree at one moment, compared with the moment before the call.

    student: pid of the process that the student's function runs in. before: the audit to compare with, or None.
    hidden: the judge's channel, which no process's descriptors show.
    named(pid, descriptor, text): a descriptor's name for people, from what /proc says of it.
    """

    student: int
    processes: dict[int, ProcessState]
    orphans: list[int]
    orphans_ended: int
    all_segments: frozenset[str]
    hidden: int
    before: "Audit | None" = field(default=None, repr=False)
    named: Callable[[int, int, str], str] | None = field(default=None, repr=False)

    @classmethod
    def from_supervisor(cls, event: dict, hidden: int, before: "Audit | None", named=None) -> "Audit":
        """From the supervisor's audit event; descriptor `hidden`, the judge's channel, is left out."""
        processes = {}
        for entry in event["processes"]:
            pid = entry["pid"]
            descriptors = {int(number): text for number, text in entry["descriptors"].items() if int(number) != hidden}
            processes[pid] = ProcessState(
                pid,
                entry["parent"],
                entry["state"],
                entry["command"],
                descriptors,
                _waiting(entry["waits_in"]) if entry["state"] in "SD" else "",
                *(frozenset(entry[kind]) for kind in _KINDS),
            )
        return cls(
            event["main"],
            processes,
            event["orphans"],
            event["orphans_ended"],
            frozenset(event["segments"]),
            hidden,
            before,
            named,
        )

    @property
    def children(self) -> list[int]:
        """The student's process's children, living or zombie."""
        return [pid for pid, process in self.processes.items() if process.parent == self.student]

    @property
    def zombies(self) -> list[int]:
        """Processes that have ended and were not waited for."""
        return [pid for pid, process in self.processes.items() if process.is_zombie]

    @property
    def own(self) -> ProcessState | None:
        """The student's process itself; None when it has ended."""
        return self.processes.get(self.student)

    @property
    def opened(self) -> dict[int, str]:
        """Descriptors of the student's process that it did not have before the call."""
        return self._only_here(self, self.before)

    @property
    def closed(self) -> dict[int, str]:
        """Descriptors that the student's process had before the call, and has no more."""
        return self._only_here(self.before, self)

    @staticmethod
    def _only_here(here: "Audit | None", there: "Audit | None") -> dict[int, str]:
        mine = here.own.descriptors if here and here.own else {}
        theirs = there.own.descriptors if there and there.own else {}
        # The same number with another target was closed and opened anew.
        return {number: text for number, text in mine.items() if theirs.get(number) != text}

    @property
    def segments(self) -> list[str]:
        """Shared-memory segments that were not there before the call."""
        return sorted(self.all_segments - (self.before.all_segments if self.before else frozenset()))

    @property
    def changed_handlers(self) -> frozenset[str]:
        """Signals that the student's process now ignores, catches or blocks otherwise than before the call."""
        if not (self.own and self.before and self.before.own):
            return frozenset()
        changed: set[str] = set()
        for kind in _KINDS:
            changed |= getattr(self.own, kind) ^ getattr(self.before.own, kind)
        return frozenset(changed)

    def describe(self, pids: Iterable[int] | None = None) -> str:
        """The processes in words: "process 9 is a zombie; process 10 waits in read 4: socket:[77]"."""
        chosen = [self.processes[pid] for pid in (self.processes if pids is None else pids) if pid in self.processes]
        words = [self._describe(process) for process in chosen[:6]]
        if len(chosen) > 6:
            words.append(f"and {len(chosen) - 6} more")
        return "; ".join(words) or "no process is left"

    def _waited_for(self, process: ProcessState) -> str:
        """The name of the descriptor that the process waits on, in brackets."""
        number = process.waiting_descriptor
        if number is None:
            return ""
        text = process.descriptors.get(number, "which is not open")
        return f" ({self.named(process.pid, number, text) if self.named else text})"

    def _describe(self, process: ProcessState) -> str:
        who = f"process {process.pid}" + (" (which ran your function)" if process.pid == self.student else "")
        if process.is_zombie:
            return f"{who} is a zombie"
        if process.state == "T":
            return f"{who} is stopped"
        if process.waits_in and self.hidden == process.waiting_descriptor:
            return f"{who} has come back from it"
        if process.waits_in:
            return f"{who} waits in {process.waits_in}{self._waited_for(process)}"
        return f"{who} runs"


def _waiting(call_and_descriptor: list | None) -> str:
    if not call_and_descriptor:
        return ""
    call, descriptor = call_and_descriptor
    return f"{call}()" if descriptor is None else f"{call}() on descriptor {descriptor}"

"""The records of a trace, and `Trace`, which holds them.

Times are seconds (float) since `Trace.start`. Records are frozen: what the kernel saw does not change when it is
looked at.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    import numpy


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. A thread's calls carry the pid of its process.

    time: s, when the process entered the kernel. duration: s, until it came back; for a call that never returned, until
    its process (or the trace) ended. args: each argument as strace prints it, a descriptor as its bare number.
    result: None when the call did not return a number. error: errno's name, or None. fd: the descriptor that the call
    works on: its first argument, else the descriptor that it returned. text: the whole call as strace prints it.
    """

    time: float
    duration: float
    pid: int
    name: str
    args: tuple[str, ...]
    result: int | None
    error: str | None
    fd: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Process:
    """One process.

    end, s: when it became a zombie; None while it lives. status: exit status, None when a signal ended it.
    """

    pid: int
    parent: int | None
    start: float
    end: float | None
    status: int | None
    signal: str | None
    command: str


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One number in one process's descriptor table, from the moment it names something to the moment it does not.

    how it came: open (any call that makes a new one: open, socket, pipe, accept …), dup, fork (copied from the parent),
    exec (kept by execve: the record of before ends, and this one begins, at the exec), received (SCM_RIGHTS, unix(7)),
    at-start (there before the trace began).
    name: the best that is known at the end, since a socket's name changes in its life. The two ends of a pair carry
    the pair's number when there are several: `socketpair 2a`, `socketpair 2b`, `pipe 1 (read end)`.
    """

    pid: int
    fd: int
    kind: str
    name: str
    opened: float
    closed: float | None
    how: str


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal as it reached a process.

    sender: a pid; for SIGCHLD the child. status, of SIGCHLD: the child's exit status, or minus the number of the
    signal that ended it.
    """

    time: float
    pid: int
    name: str
    sender: int | None
    status: int | None


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes that one call wrote and one call read.

    sent: s, the write began. received: s, the read returned; None: they were never read, and target is who could have.
    source, target: pids, None outside of the trace. size: bytes of this write that this read took. via: the
    descriptor's kind. text: its first bytes. source_fd, target_fd: the descriptors used.
    """

    sent: float
    received: float | None
    source: int | None
    target: int | None
    size: int
    via: str
    text: str
    source_fd: int | None = None
    target_fd: int | None = None


_RECORDS = {"calls": Call, "processes": Process, "descriptors": Descriptor, "signals": Signal, "messages": Message}

_OPENS = ("open", "openat", "openat2")

# What Python's imports and the dynamic loader open: see `is_startup_file`.
_STARTUP_SUFFIXES = (
    ".py",
    ".pyc",
    ".pth",
    ".so",
    "/ld.so.cache",
    "/pyvenv.cfg",
    "/locale-archive",
    "/gconv-modules.cache",
)
_STARTUP_FOLDERS = (
    "/usr/lib",
    "/lib",
    "/usr/share/",
    "/etc/ld.so",
    "/etc/locale",
    "/sys/",
    "/proc/self/",
    "/proc/sys/vm/",
)


def is_startup_file(name: str) -> bool:
    """True for the name of a file or folder that a program's loader or Python's import system reads.

    Told by its path: libraries, byte code, source files and the folders that hold them.
    """
    path = name.removeprefix("file ").removesuffix("/")
    return (
        path.endswith(_STARTUP_SUFFIXES)
        or ".so." in path
        or path.startswith(_STARTUP_FOLDERS)
        or "site-packages" in path
        or f"{os.sep}lib{os.sep}python3" in path
    )


@dataclass(frozen=True)
class Trace:
    """What the kernel saw of a program and its descendants.

    start: unix time of the first event, s. begin, end: s since start, the stretch of time that the trace covers.
    exact: from strace; else sampled, and `note` says how. The records are lists in time order.
    """

    calls: list[Call] = dataclasses.field(default_factory=list)
    processes: list[Process] = dataclasses.field(default_factory=list)
    descriptors: list[Descriptor] = dataclasses.field(default_factory=list)
    signals: list[Signal] = dataclasses.field(default_factory=list)
    messages: list[Message] = dataclasses.field(default_factory=list)
    start: float = 0.0
    begin: float = 0.0
    end: float = 0.0
    exact: bool = True
    note: str = ""

    @classmethod
    def read(cls, path: str | os.PathLike) -> Trace:
        """The trace in strace's output file, as `chatlab.trace.command` asks strace to write it.

        The program may still be running: a last line that is cut is left out. Raises OSError when the file cannot be
        read.
        """
        from chatlab.trace.replay import replay
        from chatlab.trace.syntax import read_steps

        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            return replay(read_steps(lines))

    def named(self, *names: str) -> list[Call]:
        """The calls of these names, in time order."""
        return [call for call in self.calls if call.name in names]

    def of(self, pid: int) -> Trace:
        """The records of one process; its messages are those that it sent or received."""
        return self._filtered(
            call=lambda r: r.pid == pid,
            process=lambda r: r.pid == pid,
            descriptor=lambda r: r.pid == pid,
            signal=lambda r: r.pid == pid,
            message=lambda r: pid in (r.source, r.target),
        )

    def between(self, t0: float, t1: float) -> Trace:
        """The records that touch the time from t0 to t1 (s since start), themselves uncut; times keep their meaning."""

        def touches(first: float, last: float | None) -> bool:
            return first <= t1 and (last is None or last >= t0)

        cut = self._filtered(
            call=lambda r: touches(r.time, r.time + r.duration),
            process=lambda r: touches(r.start, r.end),
            descriptor=lambda r: touches(r.opened, r.closed),
            signal=lambda r: touches(r.time, r.time),
            message=lambda r: touches(r.sent, r.sent if r.received is None else r.received),
        )
        return dataclasses.replace(cut, begin=max(self.begin, t0), end=min(self.end, t1))

    def without(self, *, fds: Collection[int] = (), pids: Collection[int] = ()) -> Trace:
        """Without what concerns these descriptor numbers (in every process) or these processes.

        What other processes exchanged with such a descriptor goes too: a channel that the judge keeps in a student's
        process leaves no mark.
        """
        return self._filtered(
            call=lambda r: r.fd not in fds and r.pid not in pids,
            process=lambda r: r.pid not in pids,
            descriptor=lambda r: r.fd not in fds and r.pid not in pids,
            signal=lambda r: r.pid not in pids,
            message=lambda r: not ({r.source_fd, r.target_fd} & {*fds} or {r.source, r.target} & {*pids}),
        )

    def quiet(self) -> Trace:
        """Without the noise of programs that start.

        Left out are the files that the loader and Python's imports read, with the calls on them; the calls that Python
        makes before it opens the program's own file (signal dispositions, standard streams); and an epoll that was
        closed unused, since Python's `selectors` makes one to see whether it can.
        """
        programs = self._programs()
        return self._filtered(
            call=lambda r: not (_is_startup_call(r) or r.pid in programs and r.time < programs[r.pid].time),
            descriptor=lambda r: not (self._is_startup_descriptor(r, programs) or self._is_probe(r)),
        )

    def _is_startup_descriptor(self, record: Descriptor, programs: dict[int, Call]) -> bool:
        if record.kind != "file" or record.how not in ("open", "fork"):
            return False
        path = record.name.removeprefix("file ")
        # Imports list the folder of the program, sys.path[0].
        folders = [os.path.dirname(_path(call)) for call in programs.values()]
        return is_startup_file(path) or any(folder.endswith(path) for folder in folders)

    def _is_probe(self, record: Descriptor) -> bool:
        if record.kind != "epoll" or record.how != "open" or record.closed is None:
            return False
        return not any(
            record.opened <= call.time < record.closed
            for call in self.calls
            if call.fd == record.fd and call.pid == record.pid
        )

    def _programs(self) -> dict[int, Call]:
        """pid → the call with which Python opened the program's own file, for the processes that execute Python."""
        running: dict[int, str] = {}
        opened: dict[int, Call] = {}
        for call in self.calls:
            if call.name == "execve" and call.result == 0:
                running[call.pid] = call.text
            elif call.name in _OPENS and call.pid in running and call.error is None:
                path = _path(call)
                if path.endswith(".py") and f'"{path}"' in running[call.pid]:
                    opened[call.pid] = call
                    del running[call.pid]
        return opened

    @property
    def reaped(self) -> dict[int, float]:
        """pid → s, when a wait call returned it: until then, after its end, the process was a zombie (wait(2))."""
        from chatlab.trace.replay import reaped_pid

        times = {}
        for call in self.named("wait4", "waitpid", "waitid"):
            if pid := reaped_pid(call):
                times.setdefault(pid, call.time + call.duration)
        return times

    def names(self, first: str = "parent") -> dict[int, str]:
        """pid → a name that is the same in every run: `first`, child 1, child 2; child 2.1 is a child of child 2."""
        found: dict[int, str] = {}
        born: dict[int, int] = {}
        for process in self.processes:
            if process.parent not in found:
                found[process.pid] = first
                continue
            born[process.parent] = born.get(process.parent, 0) + 1
            above = found[process.parent]
            found[process.pid] = f"{'child ' if above == first else f'{above}.'}{born[process.parent]}"
        return found

    def array(self, records: str) -> numpy.ndarray:
        """The records as a numpy structured array, a field for each of the record's.

        records: "calls", "processes", "descriptors", "signals" or "messages". Text is fixed-width unicode ("" for
        None), a call's args joined by ", "; None is NaN in a time and -1 in an integer. Raises ValueError for another
        name.
        """
        from chatlab.trace.arrays import as_array

        if records not in _RECORDS:
            raise ValueError(f"no records named {records!r}: a trace has {', '.join(_RECORDS)}")
        return as_array(_RECORDS[records], getattr(self, records))

    def _filtered(
        self,
        call: Callable[[Call], bool] | None = None,
        process: Callable[[Process], bool] | None = None,
        descriptor: Callable[[Descriptor], bool] | None = None,
        signal: Callable[[Signal], bool] | None = None,
        message: Callable[[Message], bool] | None = None,
    ) -> Trace:
        def kept(keep: Callable | None, records: Iterable) -> list:
            return list(filter(keep, records)) if keep else list(records)

        return dataclasses.replace(
            self,
            calls=kept(call, self.calls),
            processes=kept(process, self.processes),
            descriptors=kept(descriptor, self.descriptors),
            signals=kept(signal, self.signals),
            messages=kept(message, self.messages),
        )


def _path(call: Call) -> str:
    """The path that an open names."""
    return next((arg for arg in call.args if arg.startswith('"')), "").strip('"')


def _is_startup_call(call: Call) -> bool:
    """An open of a start-up file, tried or done, or a call on the descriptor of one."""
    if call.name in _OPENS:
        return is_startup_file(_path(call))
    first = call.text.partition("(")[2]
    name = first.partition("<")[2].partition(">")[0]
    return first[:1].isdigit() and name.startswith("/") and is_startup_file(name)

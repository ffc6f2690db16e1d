"""Open file descriptions, the descriptor tables that refer to them, and the names that people have for them.

A descriptor is an entry in a process's table; what it refers to, the open file description, may be shared by several
entries, in several processes (open(2), "Open file descriptions"; TLPI 5.4).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from chatlab.trace.records import Descriptor
from chatlab.trace.syntax import unquote

_INODE_KINDS = {
    "eventpoll": ("epoll", "epoll"),
    "eventfd": ("eventfd", "eventfd"),
    "signalfd": ("signalfd", "signalfd"),
    "pidfd": ("pidfd", "pidfd"),
    "timerfd": ("other", "timerfd"),
    "inotify": ("other", "inotify"),
}
_BRACKETED = re.compile(r"([A-Za-z][\w-]*):\[(.*)\]$", re.DOTALL)
_ADDRESS = re.compile(r"\[?(?:::ffff:)?([^\]]*?)\]?:(\d+)$")
_STYLES = {"STREAM": "stream", "SEQPACKET": "seqpacket", "DGRAM": "dgram"}

Address = tuple[str, int]


@dataclass(eq=False, slots=True)
class OpenFile:
    """An open file description: what is known of it so far.

    kind: as in `Descriptor`. style: "stream", "seqpacket" or "dgram", of a socket. inode, peer_inode: of pipes and
    unix sockets. local, peer: (host, port) of internet sockets. role: "accepted" or "connecting". path:
    of files and unix sockets. pair: the number of the socketpair or pipe, in the order of their making; end: which
    end this is.
    """

    kind: str = "other"
    label: str = ""
    style: str = "stream"
    inode: str = ""
    peer_inode: str = ""
    local: Address | None = None
    peer: Address | None = None
    role: str = ""
    path: str = ""
    pair: int | None = None
    end: str = ""

    def learn(self, note: str) -> None:
        """Take in what strace says of the descriptor now.

        A closed connection says less than before: what was known stays.
        """
        if found := _BRACKETED.match(note):
            self._learn_bracketed(found[1], found[2])
        elif note.startswith("pid:"):
            self.kind, self.label = "pidfd", f"pidfd of {note[4:]}"
        elif note and self.kind == "other":
            self._learn_path(note)

    def _learn_bracketed(self, family: str, inside: str) -> None:
        if family.startswith(("TCP", "UDP")):
            if self.kind != "listener":
                self.kind = family[:3].lower()
            self._learn_addresses(inside)
        elif family.startswith("UNIX"):
            if self.kind == "other":
                self.kind = "unix"
            self.style = _STYLES.get(family.partition("-")[2], self.style)
            self._learn_unix(inside)
        elif family == "pipe":
            self.kind, self.inode = "pipe", inside
        elif family == "anon_inode":
            self.kind, self.label = _INODE_KINDS.get(inside.strip("[]"), ("other", inside))
        elif family == "signalfd":
            self.kind, self.label = "signalfd", "signalfd"
        elif not self.label:
            self.label = family.lower()

    def _learn_addresses(self, inside: str) -> None:
        local, _, peer = inside.partition("->")
        self.local = address(local) or self.local
        self.peer = address(peer) or self.peer

    def _learn_unix(self, inside: str) -> None:
        inodes, _, path = inside.partition(",")
        own, _, peer = inodes.partition("->")
        self.inode = own or self.inode
        self.peer_inode = peer or self.peer_inode
        self.path = path.strip('"').replace('@"', "@") or self.path

    def _learn_path(self, note: str) -> None:
        path = unquote(note.partition("<")[0]).decode("utf-8", "backslashreplace")
        self.path = path
        if path.startswith("/memfd:"):
            self.kind, self.label = "memory", f"memory {path.removeprefix('/memfd:')}"
        elif path.startswith("/dev/shm/"):
            self.kind, self.label = "memory", path
        elif path.startswith(("/dev/pts/", "/dev/tty", "/dev/console")):
            self.kind, self.label = "tty", "tty"
        elif path.startswith("/dev/"):
            self.kind, self.label = "file", path
        else:
            self.kind = "file"

    def name(self, pairs: Pairs, folder: str) -> str:
        """As people think of it: see `Descriptor`. folder: the program's; a file below it is named from there."""
        if self.kind == "listener":
            return f"listener {self.path or host_port(self.local)}".rstrip()
        if self.kind in ("tcp", "udp"):
            return self._connection_name()
        if self.kind in ("socketpair", "pipe"):
            return pairs.name(self)
        if self.kind == "unix":
            return self._unix_name()
        if self.kind == "file" and not self.label:
            return f"file {short_path(self.path, folder)}"
        return self.label or "other"

    def _connection_name(self) -> str:
        if self.peer is None:
            return f"{self.kind} {host_port(self.local)}".rstrip()
        same_host = self.local is not None and self.local[0] == self.peer[0]
        if self.role == "accepted":
            return f"{self.kind} {host_port(self.local)} ← {_without_host(self.peer, same_host)}"
        if self.role == "connecting":
            near = f"{_without_host(self.local, same_host)} " if self.local else ""
            return f"{self.kind} {near}→ {host_port(self.peer)}"
        return f"{self.kind} {host_port(self.local)} ↔ {_without_host(self.peer, same_host)}"

    def _unix_name(self) -> str:
        arrow = {"accepted": " ←", "connecting": " →"}.get(self.role, "")
        if self.role == "accepted":
            return f"unix {self.path}{arrow}"
        return f"unix{arrow} {self.path}".rstrip()


@dataclass
class Pairs:
    """Numbers for pipes and socketpairs in the order of their making; a kind with one pair needs no number."""

    made: dict[str, int] = field(default_factory=dict)

    def number(self, kind: str) -> int:
        """The number of the next pair of that kind, from 1."""
        self.made[kind] = self.made.get(kind, 0) + 1
        return self.made[kind]

    def name(self, file: OpenFile) -> str:
        """`socketpair a`, `socketpair 2b`, `pipe (read end)`, `pipe 3 (write end)`.

        No number for one from before the trace.
        """
        number = str(file.pair) if file.pair and self.made.get(file.kind, 0) > 1 else ""
        if file.kind == "socketpair":
            return f"socketpair {number}{file.end}".rstrip()
        return " ".join(filter(None, ("pipe", number, f"({file.end} end)" if file.end else "")))


@dataclass(slots=True)
class Entry:
    """A descriptor: an entry in a table. closes_on_exec: FD_CLOEXEC (fcntl(2))."""

    file: OpenFile
    opened: float
    how: str
    closes_on_exec: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """An entry's whole life, before its file has its best name."""

    pid: int
    fd: int
    entry: Entry
    closed: float | None

    def record(self, pairs: Pairs, folder: str) -> Descriptor:
        """As a `Descriptor`."""
        entry = self.entry
        name = entry.file.name(pairs, folder)
        return Descriptor(self.pid, self.fd, entry.file.kind, name, entry.opened, self.closed, entry.how)


class Table:
    """A process's descriptor table. Threads share one; fork(2) copies it; execve(2) closes what FD_CLOEXEC marks."""

    def __init__(self, pid: int, spans: list[Span]):
        self.pid = pid
        self.entries: dict[int, Entry] = {}
        self.sharers = 1
        self._spans = spans

    def put(self, fd: int, file: OpenFile, time: float, how: str, closes_on_exec: bool = False) -> None:
        """fd now refers to file; what it referred to before is closed (as dup2 does)."""
        self.close(fd, time)
        self.entries[fd] = Entry(file, time, how, closes_on_exec)

    def close(self, fd: int, time: float) -> None:
        """fd refers to nothing any more."""
        if entry := self.entries.pop(fd, None):
            self._spans.append(Span(self.pid, fd, entry, time))

    def copy(self, pid: int, time: float, how: str = "fork") -> Table:
        """The table of a child made by fork at that time."""
        table = Table(pid, self._spans)
        for fd, entry in self.entries.items():
            table.entries[fd] = Entry(entry.file, time, how, entry.closes_on_exec)
        return table

    def execute(self, time: float) -> None:
        """execve succeeded: close what it closes; what it keeps is what the new program starts with."""
        for fd, entry in list(self.entries.items()):
            self.close(fd, time)
            if not entry.closes_on_exec:
                self.entries[fd] = Entry(entry.file, time, "exec")

    def close_all(self, fds: Iterable[int], time: float) -> None:
        """Close each of these."""
        for fd in list(fds):
            self.close(fd, time)

    def still_open(self) -> list[Span]:
        """The spans that have no end yet."""
        return [Span(self.pid, fd, entry, None) for fd, entry in self.entries.items()]


def address(text: str) -> Address | None:
    """`127.0.0.1:80` or `[::1]:80` as (host, port); an IPv4 address inside IPv6 as IPv4; None for an inode."""
    found = _ADDRESS.match(text)
    return (found[1], int(found[2])) if found else None


def host_port(where: Address | None) -> str:
    """(host, port) as text, IPv6 in brackets; "" for None."""
    if where is None:
        return ""
    host, port = where
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _without_host(where: Address | None, same_host: bool) -> str:
    return f":{where[1]}" if where and same_host else host_port(where)


def short_path(path: str, folder: str) -> str:
    """path, from folder when it is below it."""
    inside = folder and path.startswith(folder.rstrip(os.sep) + os.sep)
    return os.path.relpath(path, folder) if inside else path

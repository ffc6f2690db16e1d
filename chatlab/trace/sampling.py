"""Without strace: the same records from /proc, looked at every few milliseconds.

What lives shorter than the time between two looks is missing, and calls, messages and signals cannot be seen at all.
Source: proc(5), /proc/net/tcp, /proc/net/unix.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import threading
import time
from dataclasses import dataclass, field

from chatlab import procfs
from chatlab.trace.descriptors import Address, Entry, OpenFile, Pairs, Span
from chatlab.trace.records import Process, Trace

INTERVAL_SECONDS = 0.005
NOTE = f"sampled every {INTERVAL_SECONDS * 1000:.0f} ms from /proc: what lived shorter is missing"

_TCP_LISTEN = "0A"
_UNIX_ACCEPTS = 0x10000
_UNIX_CONNECTED = "03"


class Sampler:
    """Looks at a process and its descendants from a thread, until they have ended or `stop` is called.

    pid: the first process. `trace()` is what was seen so far.
    """

    def __init__(self, pid: int):
        self._pid = pid
        self._start = time.time()
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._lives: dict[int, _Life] = {}
        self._spans: list[Span] = []
        self._files: dict[str, OpenFile] = {}
        self._pairs = Pairs()
        self._end = 0.0
        self._stopping = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"sampler of {pid}")
        self._thread.start()

    def stop(self) -> None:
        """Look no more. Returns when the thread has ended."""
        self._stopping.set()
        self._thread.join()

    def trace(self) -> Trace:
        """What was seen so far, as a Trace that is not exact.

        Times are those of the look, so up to INTERVAL_SECONDS late.
        """
        with self._lock:
            spans = list(self._spans)
            for life in self._lives.values():
                spans += [Span(life.pid, fd, seen.entry, None) for fd, seen in life.descriptors.items()]
            folder = self._folder
            descriptors = [span.record(self._pairs, folder) for span in spans]
            return Trace(
                processes=sorted((life.record() for life in self._lives.values()), key=lambda life: life.start),
                descriptors=sorted(descriptors, key=lambda record: (record.opened, record.pid, record.fd)),
                start=self._start,
                end=self._end,
                exact=False,
                note=NOTE,
            )

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL_SECONDS):
            if not self._look():
                break

    def _look(self) -> bool:
        """One look at all; False when nothing of the tree lives."""
        stats = [stat for pid in (self._pid, *self._lives) if (stat := procfs.stat(pid))]
        stats += procfs.descendants(self._pid)
        now = time.monotonic() - self._begun
        with self._lock:
            self._end = now
            living = {stat.pid: stat for stat in stats if stat.state not in "ZX"}
            for stat in living.values():
                self._look_at(stat, now)
            for life in self._lives.values():
                if life.end is None and life.pid not in living:
                    self._ended(life, now)
            if any(
                file.label == "" and file.kind == "other" or file.kind in ("tcp", "unix")
                for file in self._files.values()
            ):
                self._name_sockets(next(iter(living), None))
            return bool(living)

    def _look_at(self, stat: procfs.Stat, now: float) -> None:
        life = self._lives.get(stat.pid)
        if life is None:
            life = self._lives[stat.pid] = _Life(stat.pid, stat.parent if self._lives else None, now)
        life.command = procfs.command_line(stat.pid) or life.command or stat.command
        found = procfs.descriptors(stat.pid)
        for fd in [fd for fd, seen in life.descriptors.items() if found.get(fd) != seen.target]:
            self._closed(life, fd, now)
        for fd, target in found.items():
            if fd not in life.descriptors:
                file = self._file(life.pid, fd, target)
                how = self._how(life, fd, file, now)
                life.descriptors[fd] = _Seen(target, Entry(file, now, how))

    def _how(self, life: _Life, fd: int, file: OpenFile, now: float) -> str:
        """The likeliest way in which a descriptor that was not there at the last look has come."""
        if life.parent is None and life.start == now:
            return "at-start"
        parent = self._lives.get(life.parent)
        if life.start == now and parent and fd in parent.descriptors and parent.descriptors[fd].entry.file is file:
            return "fork"
        # Inodes of epoll and its like, and of files opened twice, are shared by what no dup has made.
        unshared = file.kind in ("other", "pipe", "tcp", "socketpair", "listener", "tty")
        return "dup" if unshared and any(seen.entry.file is file for seen in life.descriptors.values()) else "open"

    def _closed(self, life: _Life, fd: int, now: float) -> None:
        self._spans.append(Span(life.pid, fd, life.descriptors.pop(fd).entry, now))

    def _ended(self, life: _Life, now: float) -> None:
        life.end = now
        for fd in list(life.descriptors):
            self._closed(life, fd, now)

    def _file(self, pid: int, fd: int, target: str) -> OpenFile:
        """What a link of /proc/PID/fd refers to; one object for each inode and end, so that its name is learnt once."""
        end = _end_of_pipe(pid, fd) if target.startswith("pipe:") else ""
        key = f"{target} {end}"
        if key not in self._files:
            self._files[key] = self._new_file(target, end)
        return self._files[key]

    def _new_file(self, target: str, end: str) -> OpenFile:
        file = OpenFile(end=end)
        if target.startswith("socket:["):
            file.inode = target[len("socket:[") : -1]
            return file
        file.learn(target.removesuffix(" (deleted)"))
        if file.kind == "pipe":
            others = [other for other in self._files.values() if other.kind == "pipe" and other.inode == file.inode]
            file.pair = others[0].pair if others else self._pairs.number("pipe")
        return file

    def _name_sockets(self, pid: int | None) -> None:
        by_inode = {file.inode: file for key, file in self._files.items() if key.startswith("socket:[")}
        if pid is None or not by_inode:
            return
        _learn_internet_sockets(pid, by_inode)
        _learn_unix_sockets(pid, by_inode)

    @property
    def _folder(self) -> str:
        try:
            return os.readlink(f"/proc/{self._pid}/cwd")
        except OSError:
            return os.getcwd()


@dataclass(slots=True)
class _Seen:
    target: str
    entry: Entry


@dataclass(slots=True)
class _Life:
    pid: int
    parent: int | None
    start: float
    command: str = ""
    end: float | None = None
    descriptors: dict[int, _Seen] = field(default_factory=dict)

    def record(self) -> Process:
        return Process(self.pid, self.parent, self.start, self.end, None, None, self.command)


def _end_of_pipe(pid: int, fd: int) -> str:
    """ "read" or "write", by the access mode in /proc/PID/fdinfo; "" when it is gone or both."""
    try:
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as lines:
            flags = next(int(line.split()[1], 8) for line in lines if line.startswith("flags:"))
    except (OSError, StopIteration):
        return ""
    return {os.O_RDONLY: "read", os.O_WRONLY: "write"}.get(flags & os.O_ACCMODE, "")


def _table(pid: int, name: str) -> list[list[str]]:
    """The rows of /proc/PID/net/NAME, which is the table of that process's network namespace."""
    try:
        with open(f"/proc/{pid}/net/{name}", encoding="utf-8", errors="replace") as lines:
            return [line.split() for line in lines][1:]
    except OSError:
        return []


def _learn_internet_sockets(pid: int, by_inode: dict[str, OpenFile]) -> None:
    for table in ("tcp", "tcp6", "udp", "udp6"):
        rows = _table(pid, table)
        listening = {row[1].rpartition(":")[2] for row in rows if row[3] == _TCP_LISTEN}
        for row in rows:
            file = by_inode.get(row[9])
            if file is None:
                continue
            file.kind = table[:3]
            file.local = _address(row[1]) or file.local
            file.peer = _address(row[2]) or file.peer
            if row[3] == _TCP_LISTEN:
                file.kind = "listener"
            elif file.peer:
                file.role = "accepted" if row[1].rpartition(":")[2] in listening else "connecting"


def _learn_unix_sockets(pid: int, by_inode: dict[str, OpenFile]) -> None:
    """A connected socket without a name is called a socketpair: /proc/net/unix does not say who its peer is."""
    for row in _table(pid, "unix"):
        file = by_inode.get(row[6]) if len(row) > 6 else None
        if file is None:
            continue
        file.path = row[7] if len(row) > 7 else ""
        if int(row[3], 16) & _UNIX_ACCEPTS:
            file.kind = "listener"
        else:
            file.kind = "socketpair" if row[5] == _UNIX_CONNECTED and not file.path else "unix"


def _address(text: str) -> Address | None:
    """`0100007F:270F` as ("127.0.0.1", 9999): 32-bit words in this machine's byte order; None for port 0."""
    words, _, port = text.partition(":")
    if int(port, 16) == 0:
        return None
    raw = bytes.fromhex(words)
    if sys.byteorder == "little":
        raw = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    host = ipaddress.ip_address(raw)
    return str(getattr(host, "ipv4_mapped", None) or host), int(port, 16)

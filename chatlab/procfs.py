"""/proc, read: what the kernel says about processes, without asking the processes themselves.

Standard library only, and quick to import: the supervisor runs this as pid 1 of a student's namespace.
Source: proc(5). A process may end between two reads; then a function here returns None or leaves it out.
"""

import os
import signal
from collections import namedtuple
from collections.abc import Iterable

# System call numbers of the calls in which a process can wait: asm/unistd_64.h and asm-generic/unistd.h.
_WAITING_CALLS = {
    "x86_64": {
        0: "read", 1: "write", 7: "poll", 19: "readv", 20: "writev", 23: "select", 34: "pause", 35: "nanosleep",
        40: "sendfile", 42: "connect", 43: "accept", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg",
        56: "clone", 57: "fork", 58: "vfork", 59: "execve", 61: "wait4", 72: "fcntl", 73: "flock",
        128: "rt_sigtimedwait", 130: "rt_sigsuspend", 202: "futex",
        230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 257: "openat", 270: "pselect6", 271: "ppoll",
        275: "splice", 276: "tee", 281: "epoll_pwait", 288: "accept4", 299: "recvmmsg", 307: "sendmmsg", 435: "clone3",
    },
    "aarch64": {
        22: "epoll_pwait", 25: "fcntl", 32: "flock", 56: "openat", 63: "read", 64: "write", 65: "readv", 66: "writev",
        71: "sendfile", 72: "pselect6", 73: "ppoll", 76: "splice", 77: "tee", 95: "waitid", 98: "futex",
        101: "nanosleep", 115: "clock_nanosleep", 133: "rt_sigsuspend", 137: "rt_sigtimedwait", 202: "accept",
        203: "connect", 206: "sendto", 207: "recvfrom", 211: "sendmsg", 212: "recvmsg", 242: "accept4", 243: "recvmmsg",
        260: "wait4", 269: "sendmmsg", 220: "clone", 221: "execve", 435: "clone3",
    },
}.get(os.uname().machine, {})  # fmt: skip

_FIRST_ARGUMENT_IS_A_DESCRIPTOR = frozenset(_WAITING_CALLS.values()) - {
    "poll", "ppoll", "select", "pselect6", "pause", "nanosleep", "clock_nanosleep", "wait4", "waitid", "futex",
    "rt_sigtimedwait", "rt_sigsuspend", "openat", "clone", "clone3", "fork", "vfork", "execve",
}  # fmt: skip

# By number, from 1: net/tcp_states.h.
_TCP_STATES = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK",
    "LISTEN", "CLOSING", "NEW_SYN_RECV", "BOUND_INACTIVE",
)  # fmt: skip


class Stat(namedtuple("Stat", "pid command state parent group session start")):  # a dataclass is slow to import
    """One line of /proc/PID/stat: the fields that tell who is whose child.

    state is one letter: R running, S sleeping, D waiting for a device, T stopped, t traced, Z zombie, X gone.
    start is in clock ticks since boot: with it a reused pid is told from the old one. command is text, the others int.
    """

    __slots__ = ()


def stat(pid: int) -> Stat | None:
    """The process's Stat, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The command may hold spaces and brackets: it ends at the last one.
    command = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(pid, command, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def processes() -> dict[int, Stat]:
    """Every process that /proc shows, by pid."""
    entries = (stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {entry.pid: entry for entry in entries if entry is not None}


def descendants(pid: int) -> list[Stat]:
    """Every living process and zombie below the process, parents before their children."""
    below: dict[int, list[Stat]] = {}
    for entry in processes().values():
        below.setdefault(entry.parent, []).append(entry)
    found: list[Stat] = []
    queue = [pid]
    while queue:
        for entry in sorted(below.get(queue.pop(0), ()), key=lambda entry: entry.pid):
            found.append(entry)
            queue.append(entry.pid)
    return found


def children(pid: int) -> list[int]:
    """The process's own children, zombies too, without a look at every process: proc_tid_children(5).

    While a child ends, another one may be missing; where the kernel does not tell, all processes are looked at.
    """
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return [entry.pid for entry in processes().values() if entry.parent == pid]
    return sorted(found)


def descriptors(pid: int) -> dict[int, str]:
    """The process's open descriptors: number to what /proc/PID/fd says, such as `socket:[4826]` or `/dev/null`."""
    found: dict[int, str] = {}
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return found
    for number in numbers:
        try:
            found[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
    return dict(sorted(found.items()))


class TcpSocket(namedtuple("TcpSocket", "local remote state unsent unread inode")):
    """One line of /proc/net/tcp: a listener, or one end of a connection; proc_pid_net(5).

    local, remote: (host, port), the host in the kernel's hexadecimal. state: as in netstat(8), such as "ESTABLISHED".
    unsent, unread: bytes not yet acknowledged, bytes not yet read. inode: an int, in /proc/PID/fd as `socket:[inode]`,
    or 0 when no process holds the socket any more.
    """

    __slots__ = ()


def tcp_sockets(port: int) -> list[TcpSocket]:
    """The TCP sockets of this machine that have the port at one of their ends."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                lines = [line for line in file if f":{port:04X} " in line]
        except FileNotFoundError:  # a kernel without IPv6 has one table
            continue
        found += [_tcp_socket(line.split()) for line in lines]
    return found


def _tcp_socket(words: list[str]) -> TcpSocket:
    local, remote = ((host, int(number, 16)) for host, _, number in (word.partition(":") for word in words[1:3]))
    unsent, unread = (int(number, 16) for number in words[4].split(":"))
    return TcpSocket(local, remote, _TCP_STATES[int(words[3], 16)], unsent, unread, int(words[9]))


def command_line(pid: int) -> str:
    """The process's argument vector, joined by spaces; empty for a zombie."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status as a dictionary; empty when the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except OSError:
        return {}


def memory(pid: int) -> dict[str, int]:
    """/proc/PID/smaps_rollup in bytes: "Rss", "Pss", "Private_Dirty", …; proc_pid_smaps(5).

    Empty when the process is gone, a zombie, or may not be looked at.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            lines = [line.split() for line in file if line.endswith("kB\n")]
    except OSError:
        return {}
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}


def resident_bytes(pids: Iterable[int]) -> int:
    """The memory of a program: the Rss of its process; of several the sum of their Pss.

    In Pss a page that k processes share counts 1/k in each, whoever they are. One that cannot be read counts nothing.
    """
    found = [memory(pid) for pid in pids]
    return sum(each.get("Rss" if len(found) == 1 else "Pss", 0) for each in found)


def signal_names(mask: str) -> list[str]:
    """The names in a signal mask of /proc/PID/status (hexadecimal; bit n - 1 is signal n)."""
    bits = int(mask, 16)
    return [signal.Signals(n).name for n in signal.valid_signals() if bits >> (n - 1) & 1 and n in set(signal.Signals)]


def signal_state(pid: int) -> dict[str, list[str]]:
    """Which signals the process ignores, catches and blocks, by name."""
    fields = status(pid)
    keys = {"ignored": "SigIgn", "caught": "SigCgt", "blocked": "SigBlk"}
    return {name: signal_names(fields.get(key, "0")) for name, key in keys.items()}


def tracer(pid: int) -> int:
    """The pid of the process that traces this one (strace), or 0."""
    return int(status(pid).get("TracerPid", "0"))


def waits_in(pid: int) -> tuple[str, int | None] | None:
    """The system call in which the process waits and its descriptor: ("read", 4), ("wait4", None).

    None when it is running, is gone, or may not be looked at (ptrace_scope, see ptrace(2)).
    """
    try:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            words = file.read().split()
    except OSError:
        return None
    if not words or not words[0].lstrip("-").isdigit() or int(words[0]) < 0:
        return None
    number = int(words[0])
    name = _WAITING_CALLS.get(number, f"system call {number}")
    descriptor = int(words[1], 16) if name in _FIRST_ARGUMENT_IS_A_DESCRIPTOR else None
    return name, descriptor


def segments() -> list[str]:
    """Names of the shared-memory segments: files in /dev/shm, and System V ones as `sysv:ID`."""
    names = []
    try:
        names = sorted(os.listdir("/dev/shm"))
    except OSError:
        pass
    try:
        with open("/proc/sysvipc/shm", encoding="ascii") as file:
            names += [f"sysv:{line.split()[1]}" for line in file.readlines()[1:]]
    except OSError:
        pass
    return names

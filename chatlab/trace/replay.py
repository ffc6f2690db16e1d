"""A walk through the steps of a trace that keeps what the kernel keeps: processes, descriptor tables, queues of bytes.

The walk is made twice. A descriptor from before the trace shows itself only when it is used, perhaps by a grandchild
that inherited it; the second walk begins with those that the first one met.
"""

from __future__ import annotations

import re
import shlex
import signal as signals
from collections.abc import Callable
from dataclasses import dataclass

from chatlab.trace import flow, syntax
from chatlab.trace.descriptors import OpenFile, Pairs, Span, Table
from chatlab.trace.records import Call, Process, Signal, Trace
from chatlab.trace.syntax import Step, Steps, SystemCall

_STREAM_ENDS = {0: "read", 1: "write", 2: "write"}
FORKS = ("fork", "vfork", "clone", "clone3")
_SENDER = re.compile(r"\bsi_pid=(\d+)")
_STATUS = re.compile(r"\bsi_status=(\w+)")


@dataclass(eq=False, slots=True)
class _Life:
    """A process as far as it is known."""

    pid: int
    parent: int | None
    start: float
    table: Table
    command: str = ""
    executed: bool = False
    end: float | None = None
    status: int | None = None
    signal: str | None = None

    def record(self) -> Process:
        return Process(self.pid, self.parent, self.start, self.end, self.status, self.signal, self.command)


def replay(steps: Steps) -> Trace:
    """The Trace of these steps."""
    walk = _Walk(steps, {})
    if walk.strangers:
        walk = _Walk(steps, walk.strangers)
    return walk.trace()


def reaped_pid(call: Call) -> int | None:
    """The pid of the zombie that a wait call removed.

    None when it removed none: WNOHANG, WNOWAIT, a child that only stopped (wait(2)).
    """
    if call.error or call.result is None or "WIFSTOPPED" in call.text or "WIFCONTINUED" in call.text:
        return None
    if call.name != "waitid":
        return call.result or None
    found = _SENDER.search(call.text)
    return int(found[1]) if found and "WNOWAIT" not in call.text and int(found[1]) else None


class _Walk:
    """One walk over all steps. strangers_known: number → strace's note, of descriptors from before the trace."""

    def __init__(self, steps: Steps, strangers_known: dict[int, str]):
        self._start = steps.start
        self._steps = steps.steps
        self._strangers_known = strangers_known
        self.strangers: dict[int, str] = {}
        self._lives: dict[int, _Life] = {}
        self._process_of: dict[int, int] = {}
        self._forking: dict[int, SystemCall] = {}
        self._used: set[tuple[int, int]] = set()
        self._spans: list[Span] = []
        self._pairs = Pairs()
        self._flow = flow.Flow(lambda pid, argument: self._file(self._lives[pid], argument))
        self._signals: list[Signal] = []
        self._calls: list[tuple[int, SystemCall]] = []
        self._folder = ""
        self._creations = {
            step.call.result: step.call
            for step in self._steps
            if step.what == "leave" and step.call.name in FORKS and step.call.done
        }
        for step in self._steps:
            self._take(step)

    def _take(self, step: Step) -> None:
        life = self._life(step)
        if step.what == "enter":
            self._enter(life, step.call)
        elif step.what == "leave":
            self._leave(life, step.call, step.time)
        elif step.what == "signal":
            self._signal(life, step)
        elif step.tid == life.pid:
            self._end(life, step)

    def _enter(self, life: _Life, call: SystemCall) -> None:
        self._calls.append((life.pid, call))
        if call.name in FORKS:
            self._forking[call.tid] = call
        elif call.name == "close":
            self._close(life, call)
        elif call.args and call.name in _BYTES_ENTER:
            _BYTES_ENTER[call.name](self._flow, life.pid, call, call.time)

    def _leave(self, life: _Life, call: SystemCall, time: float) -> None:
        if call.name in FORKS:
            self._forking.pop(call.tid, None)
            if call.done and call.result not in self._process_of:
                self._appear(call.result, time)
        elif call.args and call.name in _BYTES_LEAVE:
            if call.name == "recvmsg" and call.done:
                self._receive(life, call, time)
            _BYTES_LEAVE[call.name](self._flow, life.pid, call, time)
        elif call.name in _EFFECTS:
            _EFFECTS[call.name](self, life, call, time)
        elif call.name != "close":
            self._open(life, call, time)

    def _signal(self, life: _Life, step: Step) -> None:
        sender, status = _SENDER.search(step.fields), _STATUS.search(step.fields)
        self._signals.append(
            Signal(
                step.time,
                life.pid,
                step.signal,
                int(sender[1]) if sender else None,
                _child_status(status[1]) if status and step.signal == "SIGCHLD" else None,
            )
        )

    def _end(self, life: _Life, step: Step) -> None:
        life.end, life.status, life.signal = step.time, step.status, step.signal
        life.table.close_all(life.table.entries, step.time)
        last = next((signal for signal in reversed(self._signals) if signal.pid == life.pid), None)
        if step.signal and (last is None or last.name != step.signal):
            # SIGKILL does not stop its target for a tracer to see (ptrace(2)): only the end is seen.
            self._signals.append(Signal(step.time, life.pid, step.signal, self._killer(life.pid, step.signal), None))

    def _killer(self, pid: int, signal: str) -> int | None:
        """Who sent it: the last that asked for it, by pid or by this process's group."""
        for sender, call in reversed(self._calls):
            if (
                call.name == "kill"
                and call.args[-1:] == (signal,)
                and (call.args[0] == str(pid) or call.args[0] in ("0", "-1", f"-{pid}"))
            ):
                return sender
        return None

    # processes

    def _life(self, step: Step) -> _Life:
        """The process that the step's thread belongs to."""
        if step.tid not in self._process_of:
            self._appear(step.tid, step.time)
        return self._lives[self._process_of[step.tid]]

    def _appear(self, tid: int, time: float) -> None:
        """A thread or process is seen for the first time. Its first step may come before its parent's fork returns."""
        creation = self._creations.get(tid) or next(reversed(self._forking.values()), None)
        if creation is None or creation.tid not in self._process_of:
            self._appear_first(tid, time)
            return
        # The parent's call began before anything that its child did.
        time = min(time, creation.time)
        parent = self._lives[self._process_of[creation.tid]]
        if creation.flag("CLONE_THREAD"):
            self._process_of[tid] = parent.pid
            return
        table = parent.table if creation.flag("CLONE_FILES") else parent.table.copy(tid, time)
        self._used.update((tid, fd) for fd in table.entries)
        self._process_of[tid] = tid
        self._lives[tid] = _Life(tid, parent.pid, time, table, parent.command, parent.executed)

    def _appear_first(self, pid: int, time: float) -> None:
        life = _Life(pid, None, time, Table(pid, self._spans))
        for fd, note in sorted(self._strangers_known.items()) if not self._lives else ():
            file = _from_before(note)
            if file.kind == "pipe" and fd in _STREAM_ENDS:
                file.end = _STREAM_ENDS[fd]
            self._put(life, fd, file, time, "at-start")
        self._process_of[pid] = pid
        self._lives[pid] = life

    def _execute(self, life: _Life, call: SystemCall, time: float) -> None:
        if not call.done:
            return
        argv = next((arg for arg in call.args if arg.startswith("[")), "")
        life.command = shlex.join(word.decode("utf-8", "backslashreplace") for word in syntax.strings(argv))
        if life.executed:
            if life.table.pid != life.pid:
                life.table = life.table.copy(life.pid, time)
            life.table.execute(time)
        # The trace begins with the exec of the program itself: what it has kept was there at the start.
        life.executed = True

    # descriptors

    def _file(self, life: _Life, argument: str) -> OpenFile | None:
        """The open file description that an argument such as `3<pipe:[7]>` names, with what strace says of it."""
        fd, note = syntax.descriptor(argument)
        if fd is None:
            self._folder = self._folder or note
            return None
        if fd not in life.table.entries:
            if not note:
                return None
            self._meet(life, fd, note)
        file = life.table.entries[fd].file
        file.learn(note)
        return file

    def _meet(self, life: _Life, fd: int, note: str) -> None:
        """A descriptor that no call has made. It is from before the trace, unless its number has been in use since."""
        ancestors, pid = [], life.pid
        while pid is not None:
            ancestors.append(pid)
            pid = self._lives[pid].parent
        if not any((pid, fd) in self._used for pid in ancestors):
            self.strangers.setdefault(fd, note)
        self._put(life, fd, _from_before(note), life.start, "at-start" if life.parent is None else "fork")

    def _put(self, life: _Life, fd: int, file: OpenFile, time: float, how: str, closes_on_exec: bool = False) -> None:
        life.table.put(fd, file, time, how, closes_on_exec)
        self._used.add((life.pid, fd))

    def _open(self, life: _Life, call: SystemCall, time: float) -> None:
        """Any call that may return a new descriptor."""
        if call.args:
            self._file(life, call.args[0])
        if not call.done or not call.note:
            return
        file = OpenFile(style=_style(call))
        file.learn(call.note)
        # A pidfd is always made with FD_CLOEXEC (pidfd_open(2)).
        self._put(life, call.result, file, time, "open", call.flag("_CLOEXEC") or file.kind == "pidfd")

    def _open_pair(self, life: _Life, call: SystemCall, time: float) -> None:
        """socketpair and pipe."""
        listed = next((arg for arg in call.args if arg.startswith("[")), "")
        if not call.done or not listed:
            return
        kind, ends = ("socketpair", "ab") if call.name == "socketpair" else ("pipe", ("read", "write"))
        number = self._pairs.number(kind)
        for argument, end in zip(syntax.split_arguments(listed[1:-1])[0], ends, strict=False):
            fd, note = syntax.descriptor(argument)
            file = OpenFile(kind=kind, style=_style(call), pair=number, end=end)
            file.learn(note)
            self._put(life, fd, file, time, "open", call.flag("_CLOEXEC"))

    def _close(self, life: _Life, call: SystemCall) -> None:
        """When close begins: another thread may get the number before it returns.

        Errors but EBADF close too (close(2)).
        """
        if not call.args or self._file(life, call.args[0]) is None or call.error == "EBADF":
            return
        life.table.close(syntax.descriptor(call.args[0])[0], call.time)

    def _close_range(self, life: _Life, call: SystemCall, time: float) -> None:
        if not call.done:
            return
        first, last = (int(syntax.bare(arg), 0) for arg in call.args[:2])
        inside = [fd for fd in life.table.entries if first <= fd <= last]
        if call.flag("CLOSE_RANGE_CLOEXEC"):
            for fd in inside:
                life.table.entries[fd].closes_on_exec = True
        else:
            life.table.close_all(inside, time)

    def _duplicate(self, life: _Life, call: SystemCall, time: float) -> None:
        """dup, dup2, dup3, and fcntl's F_DUPFD. dup2 of a descriptor to itself does nothing."""
        file = self._file(life, call.args[0])
        if file is not None and call.done and call.result != syntax.descriptor(call.args[0])[0]:
            self._put(life, call.result, file, time, "dup", call.flag("CLOEXEC"))

    def _control(self, life: _Life, call: SystemCall, time: float) -> None:
        """fcntl and ioctl: duplicates and the close-on-exec flag."""
        file = self._file(life, call.args[0])
        if file is None or not call.done or len(call.args) < 2:
            return
        entry, request = life.table.entries[syntax.descriptor(call.args[0])[0]], call.args[1]
        if request.startswith("F_DUPFD"):
            self._duplicate(life, call, time)
        elif request == "F_SETFD":
            entry.closes_on_exec = call.flag("FD_CLOEXEC")
        elif request in ("FIOCLEX", "FIONCLEX"):
            entry.closes_on_exec = request == "FIOCLEX"

    def _receive(self, life: _Life, call: SystemCall, time: float) -> None:
        for fd, file in self._flow.received_descriptors(life.pid, call):
            self._put(life, fd, file, time, "received", call.flag("MSG_CMSG_CLOEXEC"))

    # sockets

    def _bind(self, life: _Life, call: SystemCall, time: float) -> None:
        file = self._file(life, call.args[0])
        if file is None or not call.done:
            return
        where = flow.socket_address(call.args[1])
        if isinstance(where, str):
            file.path = where
            self._flow.bound[where] = file
        elif where and where[1]:
            file.local = where

    def _listen(self, life: _Life, call: SystemCall, time: float) -> None:
        file = self._file(life, call.args[0])
        if file is not None and call.done:
            file.kind = "listener"

    def _connect(self, life: _Life, call: SystemCall, time: float) -> None:
        file = self._file(life, call.args[0])
        if file is None or not (call.done or call.error == "EINPROGRESS"):
            return
        file.role = "connecting"
        where = flow.socket_address(call.args[1])
        if isinstance(where, str):
            file.path = where
        elif where:
            file.peer = where

    def _accept(self, life: _Life, call: SystemCall, time: float) -> None:
        listener = self._file(life, call.args[0])
        if not call.done:
            return
        self._open(life, call, time)
        file = life.table.entries[call.result].file
        file.role = "accepted"
        if listener is not None:
            listener.kind = "listener"
            file.local = file.local or listener.local
            file.path = file.path or listener.path

    def _learn_local(self, life: _Life, call: SystemCall, time: float) -> None:
        """getsockname tells what strace may not know: an IPv6 socket's address."""
        file = self._file(life, call.args[0])
        where = flow.socket_address(call.args[1]) if file and call.done else None
        if isinstance(where, tuple) and where[1]:
            file.local = file.local or where

    # what comes out

    def trace(self) -> Trace:
        """The records."""
        end = max((step.time for step in self._steps), default=0.0)
        tables = {id(life.table): life.table for life in self._lives.values()}
        spans = self._spans + [span for table in tables.values() for span in table.still_open()]
        descriptors = [span.record(self._pairs, self._folder) for span in spans]
        calls = [self._call(pid, call, end) for pid, call in self._calls]
        return Trace(
            calls=sorted(calls, key=lambda call: call.time),
            processes=sorted((life.record() for life in self._lives.values()), key=lambda life: life.start),
            descriptors=sorted(descriptors, key=lambda record: (record.opened, record.pid, record.fd)),
            signals=sorted(self._signals, key=lambda signal: signal.time),
            messages=self._flow.queues.messages(flow.readers(spans)),
            start=self._start,
            end=end,
        )

    def _call(self, pid: int, call: SystemCall, end: float) -> Call:
        gone = self._lives[pid].end
        duration = max((end if gone is None else gone) - call.time, 0.0) if call.seconds is None else call.seconds
        fd = syntax.descriptor(call.args[0])[0] if call.args and _about_descriptor(call) else None
        if fd is None and call.note:
            fd = call.result
        args = tuple(map(syntax.bare, call.args))
        return Call(call.time, duration, pid, call.name, args, call.result, call.error, fd, call.text)


_EFFECTS: dict[str, Callable] = {
    "execve": _Walk._execute,
    "execveat": _Walk._execute,
    "socketpair": _Walk._open_pair,
    "pipe": _Walk._open_pair,
    "pipe2": _Walk._open_pair,
    "close_range": _Walk._close_range,
    "dup": _Walk._duplicate,
    "dup2": _Walk._duplicate,
    "dup3": _Walk._duplicate,
    "fcntl": _Walk._control,
    "ioctl": _Walk._control,
    "bind": _Walk._bind,
    "listen": _Walk._listen,
    "connect": _Walk._connect,
    "accept": _Walk._accept,
    "accept4": _Walk._accept,
    "getsockname": _Walk._learn_local,
}
_BYTES_ENTER: dict[str, Callable] = {
    **dict.fromkeys(flow.WRITES, flow.Flow.write),
    **dict.fromkeys(flow.BATCH_WRITES, flow.Flow.write_batch),
    **dict.fromkeys(flow.MOVES, flow.Flow.move),
}
_BYTES_LEAVE: dict[str, Callable] = {
    **dict.fromkeys(flow.READS, flow.Flow.read),
    **dict.fromkeys(flow.BATCH_READS, flow.Flow.read_batch),
    **dict.fromkeys(flow.MOVES, flow.Flow.moved),
}
_ABOUT_DESCRIPTORS = frozenset(
    """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 splice tee vmsplice sendfile
    copy_file_range close dup dup2 dup3 fcntl ioctl ftruncate flock bind listen accept accept4 connect shutdown
    getsockname getsockopt setsockopt sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg epoll_ctl epoll_wait
    epoll_pwait epoll_pwait2 timerfd_settime pidfd_send_signal pidfd_getfd
    """.split()  # noqa: SIM905
)


def _about_descriptor(call: SystemCall) -> bool:
    return call.name in _ABOUT_DESCRIPTORS


def _from_before(note: str) -> OpenFile:
    file = OpenFile()
    file.learn(note)
    return file


def _style(call: SystemCall) -> str:
    """The style of the socket that socket or socketpair makes: socket(2)."""
    for style in ("SEQPACKET", "DGRAM"):
        if call.flag(f"SOCK_{style}"):
            return style.lower()
    return "stream"


def _child_status(text: str) -> int | None:
    """si_status: an exit status, or the name of the signal that ended or stopped the child."""
    if text.isdigit():
        return int(text)
    number = getattr(signals, text, None)
    return -int(number) if number is not None else None

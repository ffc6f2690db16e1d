"""The calls that move bytes, and descriptors, between processes: what each does to which queue.

A queue's key says who reads it: the pipe, the unix socket's inode, the connection seen from the reader's side, the
UDP port.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Hashable, Iterator

from chatlab.trace import syntax
from chatlab.trace.descriptors import Address, OpenFile, Span
from chatlab.trace.messages import Queues, Written
from chatlab.trace.syntax import SystemCall

READS = ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "sendto", "sendmsg", "vmsplice")
BATCH_READS = ("recvmmsg",)
BATCH_WRITES = ("sendmmsg",)
MOVES = ("splice", "tee", "sendfile")

_PORT = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"(?:::ffff:)?([^"]+)"')
_UNIX_PATH = re.compile(r'sun_path=(@?)"((?:[^"\\]|\\.)*)"')
_RIGHTS = re.compile(r"cmsg_type=SCM_RIGHTS, cmsg_data=\[(.*?)\]\}", re.DOTALL)
_PASSED = re.compile(rf"(\d+)({syntax.ANNOTATION})?")
_MESSAGE_LENGTH = re.compile(r"msg_len=(\d+)")


class Flow:
    """All bytes in flight. file_of(pid, argument): the open file description that an argument of that process names."""

    def __init__(self, file_of: Callable[[int, str], OpenFile | None]):
        self.queues = Queues()
        self.bound: dict[str, OpenFile] = {}
        self._file_of = file_of
        self._passing: dict[Hashable, list[list[OpenFile | None]]] = {}
        self._moving: dict[int, Written] = {}

    def write(self, pid: int, call: SystemCall, time: float) -> None:
        """write, send and their kin began."""
        file = self._file_of(pid, call.args[0])
        if file is None:
            return
        if call.name == "sendmsg":
            self._pass_descriptors(pid, file, call.args[1])
        if size := call.result if call.done else _wanted(call):
            self._send(pid, call, file, size, _payload(call), _destination(call))

    def read(self, pid: int, call: SystemCall, time: float) -> None:
        """read, recv and their kin returned."""
        file = self._file_of(pid, call.args[0])
        if file is not None and call.done and not call.flag("MSG_PEEK"):
            self._take(pid, call, file, call.result, time, _payload(call))

    def write_batch(self, pid: int, call: SystemCall, time: float) -> None:
        """sendmmsg began."""
        if file := self._file_of(pid, call.args[0]):
            for part, payload, size in _batch(call):
                self._send(pid, call, file, size, payload, socket_address(part))

    def read_batch(self, pid: int, call: SystemCall, time: float) -> None:
        """recvmmsg returned."""
        if file := self._file_of(pid, call.args[0]):
            for _, payload, size in _batch(call):
                self._take(pid, call, file, size, time, payload)

    def move(self, pid: int, call: SystemCall, time: float) -> None:
        """splice, tee or sendfile began: bytes that the process never sees will join a queue."""
        source, target = _move_ends(call)
        into, out = self._file_of(pid, source), self._file_of(pid, target)
        _learn_ends(into, out)
        key = self._written_key(out) if out else None
        if key is not None and call.done and call.result:
            written = Written(call.time, pid, syntax.descriptor(target)[0], call.result, out.kind)
            self._moving[call.tid] = written
            self.queues.write(key, written)

    def moved(self, pid: int, call: SystemCall, time: float) -> None:
        """It returned: its bytes have left the queue that they came from; tee leaves them there."""
        written = self._moving.pop(call.tid, None)
        source = _move_ends(call)[0]
        into = self._file_of(pid, source)
        key = read_key(into) if into else None
        if key is None or not call.done or not call.result:
            return
        if call.name == "tee":
            data = self.queues.peek(key, call.result)
        else:
            data = self.queues.read(key, call.result, time, pid, syntax.descriptor(source)[0], into.kind)
        if written:
            written.data = data

    def received_descriptors(self, pid: int, call: SystemCall) -> Iterator[tuple[int, OpenFile]]:
        """The new descriptors that recvmsg brought (SCM_RIGHTS, unix(7)), each with what it refers to."""
        file = self._file_of(pid, call.args[0])
        for listed in _RIGHTS.findall(call.args[1]) if file and len(call.args) > 1 else ():
            queue = self._passing.get(read_key(file), [])
            files = queue.pop(0) if queue else []
            for index, found in enumerate(_PASSED.finditer(listed)):
                passed = files[index] if index < len(files) else None
                passed = passed or OpenFile()
                passed.learn((found[2] or "")[1:-1])
                yield int(found[1]), passed

    def _pass_descriptors(self, pid: int, file: OpenFile, header: str) -> None:
        for listed in _RIGHTS.findall(header):
            files = [self._file_of(pid, found[0]) for found in _PASSED.finditer(listed)]
            self._passing.setdefault(self._written_key(file), []).append(files)

    def _send(
        self, pid: int, call: SystemCall, file: OpenFile, size: int, payload: bytes, to: Address | str | None
    ) -> None:
        _learn_ends(None, file)
        key = self._written_key(file, to)
        if key is None:
            return
        if file.kind == "eventfd":
            payload = f"+{int.from_bytes(payload, sys.byteorder)}".encode()
        fd = syntax.descriptor(call.args[0])[0]
        self.queues.write(key, Written(call.time, pid, fd, size, file.kind, payload[:size], sure=call.done))

    def _take(self, pid: int, call: SystemCall, file: OpenFile, size: int, time: float, shown: bytes) -> None:
        _learn_ends(file, None)
        key = read_key(file)
        if key is None or size == 0:
            return
        fd = syntax.descriptor(call.args[0])[0]
        if file.kind == "eventfd":
            self.queues.read_all(key, time, pid, fd, file.kind)
        elif file.style == "stream":
            self.queues.read(key, size, time, pid, fd, file.kind, shown[:size])
        else:
            self.queues.read_one(key, size, time, pid, fd, file.kind, shown[:size])

    def _written_key(self, file: OpenFile, to: Address | str | None = None) -> Hashable | None:
        """The key of the queue that a write to file joins; None when it joins none (a file, a terminal)."""
        if file.kind == "udp":
            where = to or file.peer
            return ("udp", where[1]) if where else None
        if file.kind == "tcp":
            return ("tcp", file.peer, file.local)
        if file.kind == "unix" and isinstance(to, str):
            bound = self.bound.get(to)
            return ("unix", bound.inode if bound else to)
        if file.kind in ("unix", "socketpair"):
            return ("unix", file.peer_inode)
        return read_key(file)


def read_key(file: OpenFile) -> Hashable | None:
    """The key of the queue that a read from file takes from; None when it takes from none."""
    if file.kind in ("unix", "socketpair"):
        return ("unix", file.inode)
    if file.kind == "pipe":
        return ("pipe", file.inode)
    if file.kind == "tcp":
        return ("tcp", file.local, file.peer)
    if file.kind == "udp":
        return ("udp", file.local[1]) if file.local else None
    return ("eventfd", id(file)) if file.kind == "eventfd" else None


def readers(spans: list[Span]) -> dict[Hashable, tuple[int, int]]:
    """For each queue the (pid, fd) that could have read it last."""
    last: dict[Hashable, Span] = {}
    for span in spans:
        key = read_key(span.entry.file)
        if key is not None and span.entry.file.end != "write" and _outlives(span, last.get(key)):
            last[key] = span
    return {key: (span.pid, span.fd) for key, span in last.items()}


def _outlives(span: Span, other: Span | None) -> bool:
    if other is None or span.closed is None:
        return True
    return other.closed is not None and span.closed > other.closed


def socket_address(argument: str) -> Address | str | None:
    """A struct sockaddr as strace prints it: (host, port), a unix socket's path (@ for an abstract one), or None."""
    if found := _PORT.search(argument):
        return found[2], int(found[1])
    if found := _UNIX_PATH.search(argument):
        return found[1] + syntax.unquote(found[2]).decode("utf-8", "backslashreplace")
    return None


def _payload(call: SystemCall) -> bytes:
    if len(call.args) < 2:
        return b""
    if call.name in ("read", "write", "sendto", "recvfrom"):
        return b"".join(syntax.strings(call.args[1])[:1])
    return syntax.buffers(call.args[1])


def _wanted(call: SystemCall) -> int:
    """How many bytes a write that never returned was to write: while it waited for room, some may have been read."""
    if call.error or call.result is not None or call.name not in ("write", "sendto") or len(call.args) < 3:
        return 0
    return int(call.args[2], 0)


def _destination(call: SystemCall) -> Address | str | None:
    if call.name == "sendto" and len(call.args) > 4:
        return socket_address(call.args[4])
    if call.name == "sendmsg":
        return socket_address(call.args[1].partition("msg_iov=")[0])
    return None


def _batch(call: SystemCall) -> Iterator[tuple[str, bytes, int]]:
    """Each message of sendmmsg or recvmmsg: its text, its bytes, its size."""
    if not call.done or len(call.args) < 2:
        return
    for part in syntax.split_arguments(call.args[1][1:-1])[0][: call.result]:
        if sizes := _MESSAGE_LENGTH.findall(part):
            yield part, syntax.buffers(part), int(sizes[-1])


def _move_ends(call: SystemCall) -> tuple[str, str]:
    """The arguments that bytes move from and to."""
    padded = (*call.args, "", "", "")
    if call.name == "sendfile":
        return padded[1], padded[0]
    return padded[0], padded[2 if call.name == "splice" else 1]


def _learn_ends(source: OpenFile | None, target: OpenFile | None) -> None:
    """Use tells which end of a pipe from before the trace this is."""
    for file, end in ((source, "read"), (target, "write")):
        if file and file.kind == "pipe" and not file.end:
            file.end = end

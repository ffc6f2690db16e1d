"""Which write's bytes did which read get?

Every direction of a pipe or connection is a queue of bytes, first in, first out. A write joins its queue when the
call begins, since its bytes may be read before strace has seen it return; a read takes from it when it returns. So
each read finds the writes that it took its bytes from. What it took and no traced process wrote came from outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from chatlab.trace.records import Message

# Message.text: enough to recognise a line.
TEXT_BYTES = 256


@dataclass(eq=False, slots=True)
class Written:
    """One write: who, when, how many bytes, and those that strace showed.

    data grows late for splice, which shows none. sure: False for a write that never returned: what was read of it
    counts, the rest may never have left the process.
    """

    sent: float
    pid: int
    fd: int
    size: int
    via: str
    data: bytes = b""
    taken: int = 0
    sure: bool = True

    @property
    def left(self) -> int:
        """Bytes that no read has taken yet."""
        return self.size - self.taken


@dataclass(frozen=True, slots=True)
class _Taken:
    """size bytes of a write (or of nobody's: written is None), from offset, taken by one read."""

    written: Written | None
    offset: int
    size: int
    received: float
    pid: int
    fd: int
    via: str
    shown: bytes

    @property
    def data(self) -> bytes:
        if self.written is None:
            return self.shown
        return self.written.data[self.offset : self.offset + self.size] or self.shown


@dataclass
class Queues:
    """All queues of a trace, by a key that says who reads them."""

    _waiting: dict[Hashable, deque[Written]] = field(default_factory=dict)
    _taken: list[_Taken] = field(default_factory=list)

    def write(self, key: Hashable, written: Written) -> None:
        """A write of at least one byte begins."""
        self._waiting.setdefault(key, deque()).append(written)

    def read(self, key: Hashable, size: int, received: float, pid: int, fd: int, via: str, shown: bytes = b"") -> bytes:
        """A stream's read of size bytes returned. Returns the bytes that are known of them."""
        waiting = self._waiting.get(key, deque())
        first, offset = len(self._taken), 0
        while offset < size:
            if not waiting:
                self._taken.append(_Taken(None, 0, size - offset, received, pid, fd, via, shown[offset:]))
                break
            written = waiting[0]
            part = min(written.left, size - offset)
            self._taken.append(
                _Taken(written, written.taken, part, received, pid, fd, via, shown[offset : offset + part])
            )
            written.taken += part
            offset += part
            if written.left == 0:
                waiting.popleft()
        return b"".join(taken.data for taken in self._taken[first:])

    def read_one(
        self, key: Hashable, size: int, received: float, pid: int, fd: int, via: str, shown: bytes = b""
    ) -> None:
        """A read of one datagram or record returned: one to one, whatever the buffer's size."""
        waiting = self._waiting.get(key)
        written = waiting.popleft() if waiting else None
        if written:
            written.taken = written.size
        whole = written.size if written else size
        self._taken.append(_Taken(written, 0, whole, received, pid, fd, via, shown))

    def read_all(self, key: Hashable, received: float, pid: int, fd: int, via: str) -> None:
        """A read that takes whatever is there: an eventfd's counter (eventfd(2))."""
        for written in self._waiting.pop(key, ()):
            written.taken = written.size
            self._taken.append(_Taken(written, 0, written.size, received, pid, fd, via, b""))

    def peek(self, key: Hashable, size: int) -> bytes:
        """The bytes that are known of the next size, left where they are: tee(2)."""
        return b"".join(written.data[written.taken :] for written in self._waiting.get(key, ()))[:size]

    def messages(self, reader_of: dict[Hashable, tuple[int, int] | None]) -> list[Message]:
        """Every message, in the order sent.

        reader_of: for a key, the (pid, fd) that would have read what was never read.
        """
        messages = [_message(taken) for taken in self._taken]
        for key, waiting in self._waiting.items():
            messages += [_unread(written, reader_of.get(key)) for written in waiting if written.sure]
        return sorted(messages, key=lambda message: message.sent)


def _message(taken: _Taken) -> Message:
    written = taken.written
    text = _text(taken.data)
    if written is None:
        return Message(taken.received, taken.received, None, taken.pid, taken.size, taken.via, text, None, taken.fd)
    # strace's clock is read before the writer goes on, so sent is never after received; equal clocks may round.
    sent = min(written.sent, taken.received)
    return Message(sent, taken.received, written.pid, taken.pid, taken.size, written.via, text, written.fd, taken.fd)


def _unread(written: Written, reader: tuple[int, int] | None) -> Message:
    target, target_fd = reader or (None, None)
    text = _text(written.data[written.taken :])
    return Message(written.sent, None, written.pid, target, written.left, written.via, text, written.fd, target_fd)


def _text(data: bytes) -> str:
    return data[:TEXT_BYTES].decode("utf-8", "backslashreplace")

"""One workload over the members of a room, from the first line until everybody has the last one.

One thread, one epoll(7), one buffer: a chunk costs an event, a recv_into and a memcmp (order.py says why).
"""

import select
import socket
import time
from collections import deque
from collections.abc import Callable

import numpy

from chatlab.load.client import shown
from chatlab.load.errors import LoadError, describe, patience, reason
from chatlab.load.order import Faults, Order, Stray
from chatlab.load.result import Meter, Result, Sample
from chatlab.load.work import NEVER

CHUNK_BYTES = 1 << 18
TURN_EVENTS = 256  # a turn is short, so that what it finished is soon known
DRAW_SECONDS = 0.1
KEPT_BYTES = 1 << 20


class Member:
    """One client of a room: its connection, and in a run how far it has come in the room's order."""

    __slots__ = ("cursor", "number", "out", "own", "pending", "socket", "stray", "waits")

    def __init__(self, connection: socket.socket, number: int):
        self.socket = connection
        self.number = number
        self.out = b""  # what could not be sent yet
        self.waits = False  # for EPOLLOUT, to send it

    def begin(self) -> None:
        """Begin a run: nothing has come yet."""
        self.cursor = 0  # offset in the order: what lies before has come, or is its own
        self.own: deque[int] = deque()  # offsets of its own lines behind the cursor: these do not come
        self.pending = b""  # what came beyond what is known of the order
        self.stray: Stray | None = None


class Run:
    """See the module. Arguments: the room's; work, a ClosedLoop or FixedRate; show, called with the share done."""

    def __init__(self, address, poller, members: list[Member], work, senders: int, size: int, show: Callable):
        self.address, self.poller, self.members, self.work = address, poller, members, work
        self.senders = senders
        # Two clients say the closing lines, so that each of them hears one.
        self.order = Order(max(senders, min(2, len(members) - 1)), size)
        self.faults, self.sample, self.meter = Faults(), Sample(), Meter()
        self.done = [0] * self.order.senders  # by sender, lines that everybody has got
        self.sent = 0
        self.completion: list[float] = []
        self.strays: dict[int, Stray] = {}
        self._show = show
        self._buffer = bytearray(CHUNK_BYTES)
        self._chunk = memoryview(self._buffer)
        self._living = {member.socket.fileno(): member for member in members if member.socket.fileno() >= 0}
        if len(self._living) < 2:
            raise LoadError(f"the server at {describe(address)} has ended the connections of this room")
        for member in members:
            member.begin()
        # By member, lines of the order that it has; NEVER: it does not follow the order, or is gone.
        self._reached: list[float] = [NEVER] * len(members)
        # By sender, lines that somebody has not got; None: the sender is gone.
        self.outstanding: list[int | None] = [None] * self.order.senders
        for member in self._living.values():
            self._reached[member.number] = 0
            if member.number < self.order.senders:
                self.outstanding[member.number] = 0
        if min(self._reached[self.order.senders :]) == NEVER:
            raise LoadError(f"the server at {describe(address)} has ended every client of this room that only listens")

    def result(self) -> Result:
        """Run to the end, and say what came out."""
        self.started = self._heard = time.monotonic()
        self._measure_from = self.started + self.work.warmup
        self._work()
        self._say_closing_lines()
        self._finish()
        latency, at = self.sample.arrays(self._measure_from)
        return Result(
            clients=len(self.members),
            senders=self.senders,
            size=self.order.size,
            window=self.work.window,
            rate=self.work.rate,
            seconds=self.meter.seconds,
            lines=self.meter.lines,
            deliveries=self.meter.deliveries,
            latency=latency,
            at=at,
            completion=numpy.array(self.completion, dtype="f8"),
            sampled=self.sample.step,
            maximum=max([*self.completion, float(latency.max(initial=0.0))]),
            busy=self.meter.processor / self.meter.seconds,
            behind=self.work.behind,
            faults=self.faults.counts,
            examples=self.faults.examples,
        )

    # the loop

    def _work(self) -> None:
        """Send what the work wants, until all is sent and everybody has it, or a silence says that lines are lost."""
        over, drawn = False, self.started
        while not over or self._unfinished():
            now = time.monotonic()
            elapsed = now - self.started
            if now >= self._measure_from:
                self.meter.start(now, self.sample.deliveries, sum(self.done))
            if not over:
                for sender, count, when in self.work.due(elapsed, self.outstanding[: self.senders], self.sent):
                    self._send(self.members[sender], count, self.started + when)
                over = self.work.over(elapsed, self.sent)
            if over and self.work.timed:
                self.meter.stop(now, self.sample.deliveries, sum(self.done))
            if self._silent(now):
                break
            self._turn(NEVER if over else self.work.next(elapsed))
            if now > drawn + DRAW_SECONDS:
                self._show(self.work.share(elapsed, self.sent))
                drawn = now
        self.meter.stop(time.monotonic(), self.sample.deliveries, sum(self.done))

    def _say_closing_lines(self) -> None:
        """Lines that count for nothing: what came before them at some client has come, and is checked."""
        if self._unfinished():
            return
        for member in self.members[:2][: self.order.senders]:
            if self.outstanding[member.number] is not None:
                self._send(member, 1, when=0.0)
        while self._unfinished() and not self._silent(time.monotonic()):
            self._turn(NEVER)

    def _unfinished(self) -> bool:
        return any(self.outstanding)

    def _silent(self, now: float) -> bool:
        return now > self._heard + patience() and self._unfinished()

    def _turn(self, limit: float) -> None:
        """Handle what is ready, or becomes so within `limit` seconds."""
        ready = self.poller.poll(0, TURN_EVENTS)
        # epoll_wait(2) counts in milliseconds, select(2), over the epoll descriptor, in microseconds.
        if not ready and limit > 0 and select.select([self.poller], [], [], min(limit, DRAW_SECONDS))[0]:
            ready = self.poller.poll(0, TURN_EVENTS)
        if ready:
            self._handle(ready)
            self._heard = time.monotonic()
            self._account(self._heard)

    # receiving

    def _handle(self, ready: list[tuple[int, int]]) -> None:
        living, buffer, chunk, goes_on = self._living, self._buffer, self._chunk, self.order.goes_on
        for descriptor, event in ready:
            member = living[descriptor]
            if event & select.EPOLLOUT:
                self._flush(member)
            if not event & ~select.EPOLLOUT or descriptor not in living:
                continue
            try:
                count = member.socket.recv_into(buffer)
            except BlockingIOError:
                continue
            except OSError as error:
                self._lose(member, reason(error))
                continue
            if not count:
                self._lose(member, "end of file")
            elif member.pending or member.stray or member.own or not goes_on(chunk[:count], member.cursor):
                self._take(member, member.pending + bytes(chunk[:count]))
            else:
                self._advance(member, count)

    def _advance(self, member: Member, count: int) -> None:
        """The next `count` bytes of the order have come to this member."""
        begin = member.cursor
        member.cursor = end = begin + count
        if times := self.order.times(begin, end):
            self.sample.note(times, time.monotonic())
            self._reached[member.number] = end // self.order.size

    def _take(self, member: Member, data: bytes) -> None:
        """What is not simply the order's next piece: own lines lie between, or no more is known, or it differs."""
        if member.stray:
            member.stray.feed(data)
            return
        while known := min(len(data), self._known(member)):
            if not self.order.goes_on(data[:known], member.cursor):
                self._lead_astray(member, data)
                return
            self._advance(member, known)
            data = data[known:]
        if member.number >= self.order.senders and data:
            data = self._extend(member, data)
        member.pending = data

    def _known(self, member: Member) -> int:
        """How many bytes of the order lie between the member's cursor and its next own line, or the end."""
        while member.own and member.own[0] == member.cursor:
            member.own.popleft()
            member.cursor += self.order.size
            self._reached[member.number] = member.cursor // self.order.size
        return (member.own[0] if member.own else self.order.end) - member.cursor

    def _extend(self, member: Member, data: bytes) -> bytes:
        """A listener at the end of the order tells how it goes on. Returns what is left: a piece of a line."""
        offset = self.order.end
        who = self.order.extend(data)
        self._advance(member, len(who) * self.order.size)
        for place, sender in enumerate(who):
            self.members[sender].own.append(offset + place * self.order.size)
        data = data[len(who) * self.order.size :]
        if b"\n" in data or len(data) >= self.order.size:
            self._lead_astray(member, data)
            return b""
        for sender in set(who):
            if self._reached[sender] < NEVER:
                self._known(self.members[sender])
        return data

    def _lead_astray(self, member: Member, data: bytes) -> None:
        """From here on this member is checked line by line, beginning with the line that it is in."""
        expected = self.order.expected_at(member.cursor)
        member.stray = Stray(member.number, self.order, expected, self.faults, self._note_stray)
        member.pending = b""
        self.strays[member.number] = member.stray
        self._leave_order(member)
        member.stray.feed(self.order.beginning(member.cursor) + data)

    def _note_stray(self, sender: int, number: int) -> None:
        self.sample.note(self.order.sent_at[sender][number : number + 1], time.monotonic())

    def _leave_order(self, member: Member) -> None:
        """This member follows the order no more. Without listeners nobody does, since nobody tells how it goes on."""
        self._reached[member.number] = NEVER
        if min(self._reached[self.order.senders :]) == NEVER and not self.order.closed:
            self.order.closed = True
            for other in list(self._living.values()):
                if other.stray is None:
                    self._lead_astray(other, other.pending)

    def _lose(self, member: Member, why: str) -> None:
        """The server has ended this member's connection."""
        descriptor = member.socket.fileno()
        self.poller.unregister(descriptor)
        member.socket.close()
        del self._living[descriptor]
        member.pending = b""
        self.strays.pop(member.number, None)
        if member.number < self.order.senders:
            self.outstanding[member.number] = None
        words = last_words(member)
        self.faults.note("gone", f"the server ended client {member.number}'s connection: {why}{words}")
        if len(self._living) < 2:
            raise LoadError(f"the server at {describe(self.address)} has ended its connections: {why}{words}")
        self._leave_order(member)

    # sending

    def _send(self, member: Member, count: int, when: float) -> None:
        if not self._unfinished():
            self._heard = time.monotonic()  # nothing was to be heard until now
        member.out += b"".join([self.order.send(member.number, when) for _ in range(count)])
        self.sent += count
        self.outstanding[member.number] += count
        self._flush(member)

    def _flush(self, member: Member) -> None:
        try:
            member.out = member.out[member.socket.send(member.out) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(member, reason(error))
            return
        if bool(member.out) != member.waits:
            member.waits = not member.waits
            self.poller.modify(member.socket, select.EPOLLIN | (select.EPOLLOUT if member.waits else 0))

    # what is done

    def _account(self, now: float) -> None:
        """After a turn: which lines everybody has by now."""
        order = self.order
        for member in self.members[: order.senders]:
            if member.pending and self._known(member):
                self._take(member, member.pending)
        low = min(self._reached)
        changed = set() if order.closed else order.pass_on(low)
        for sender in range(order.senders) if self.strays else changed:
            self._complete(sender, now)
        if len(order.data) > KEPT_BYTES:
            order.forget(order.length if order.closed else low)

    def _complete(self, sender: int, now: float) -> None:
        """Note this sender's lines that everybody has got since the last look."""
        have = [stray.expected[sender] for stray in self.strays.values() if stray.client != sender]
        if not self.order.closed:
            have.append(self.order.passed[sender])
        upto = max(self.done[sender], min(have, default=0))
        for sent in self.order.sent_at[sender][self.done[sender] : upto]:
            if sent >= self._measure_from:
                self.completion.append(now - sent)
        if self.outstanding[sender] is not None:
            self.outstanding[sender] -= upto - self.done[sender]
        self.done[sender] = upto

    def _finish(self) -> None:
        """Note what has not come, and to whom."""
        senders = [number for number, count in enumerate(self.outstanding) if count is not None]
        for member in list(self._living.values()):
            if member.stray is None and (member.pending or self._unfinished()):
                self._lead_astray(member, member.pending)
            if member.stray:
                member.stray.finish(senders)


def last_words(member: Member) -> str:
    """The notice that a member got before it was ended."""
    notice = member.stray.notice if member.stray else b""
    return f", its last words {shown(notice)}" if notice else ""

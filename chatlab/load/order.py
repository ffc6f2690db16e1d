"""Every line checked, at a cost of nanoseconds.

A relay gives the whole room one order of lines, of which a client sees all but its own. So what the first client to
be served receives is taken apart, checked line by line and written down, and what the others receive is compared with
that record byte by byte: one memcmp for hundreds of lines. Only a client whose bytes differ (`Stray`) is checked line
by line from there on: a relay may give each client another order, as long as each sender's lines stay in theirs.
"""

from array import array
from collections import deque
from collections.abc import Callable

from chatlab.load.client import shown

SMALLEST_LINE = 32
LARGEST_LINE = 65_536
MOST_EXAMPLES = 5
FAULTS = ("lost", "repeated", "torn", "reordered", "echoed", "gone")


def make_line(sender: int, number: int, size: int) -> bytes:
    """The sender's line of that number, `size` bytes with its newline; both stand at either end of it."""
    return b"%05d %09d %b%05d %09d\n" % (sender, number, b"." * (size - SMALLEST_LINE), sender, number)


class Faults:
    """How many of each kind, and the first few in words."""

    def __init__(self):
        self.counts = dict.fromkeys(FAULTS, 0)
        self.examples: list[str] = []

    def note(self, kind: str, words: str, count: int = 1) -> None:
        self.counts[kind] += count
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"{kind}: {words}")


class Order:
    """The room's one order of lines, as far as it is known, and all that was sent.

    senders: how many clients send, the first ones; size: bytes of each line. Places in the order, and offsets in its
    bytes, count from the run's beginning; what everybody has is forgotten.
    """

    def __init__(self, senders: int, size: int):
        self.senders = senders
        self.size = size
        self.data = bytearray()
        self.base = 0  # offset of data[0]
        self.length = 0  # lines in the order
        self.sent_at = [array("d") for _ in range(senders)]  # by sender and number
        self.passed = [0] * senders  # by sender, how many of its lines everybody has
        self.closed = False  # nobody follows the order any more
        self._times = array("d")  # when the lines in data were sent
        self._who: deque[int] = deque()  # who sent the lines that somebody has not got
        self._waiting: list[deque[bytes]] = [deque() for _ in range(senders)]  # sent, not in the order yet
        self._next = [0] * senders

    @property
    def end(self) -> int:
        """The offset behind the last line."""
        return self.length * self.size

    def send(self, sender: int, when: float) -> bytes:
        """The sender's next line, noted as sent at that time."""
        line = make_line(sender, len(self.sent_at[sender]), self.size)
        self.sent_at[sender].append(when)
        if not self.closed:
            self._waiting[sender].append(line)
        return line

    def extend(self, data: bytes) -> list[int]:
        """Take from data the whole lines that go on in every sender's sequence, and return who sent them."""
        who = []
        for start in range(0, len(data) - self.size + 1, self.size):
            line = data[start : start + self.size]
            sender = sender_of(line)
            if not 0 <= sender < self.senders or not self._waiting[sender] or self._waiting[sender][0] != line:
                break
            self._waiting[sender].popleft()
            self._times.append(self.sent_at[sender][self._next[sender]])
            self._next[sender] += 1
            who.append(sender)
        self.data += data[: len(who) * self.size]
        self.length += len(who)
        self._who.extend(who)
        return who

    def goes_on(self, data: bytes | memoryview, offset: int) -> bool:
        """Whether the order has these bytes at this offset: one memcmp, nothing copied."""
        return self.data.startswith(data, offset - self.base)

    def times(self, begin: int, end: int) -> array:
        """When the lines were sent whose ends lie between two offsets."""
        return self._times[(begin - self.base) // self.size : (end - self.base) // self.size]

    def pass_on(self, place: int) -> set[int]:
        """Everybody has the lines before `place`: count them, and return the senders of those that are new."""
        new = [self._who.popleft() for _ in range(place - (self.length - len(self._who)))]
        for sender in new:
            self.passed[sender] += 1
        return set(new)

    def forget(self, place: int) -> None:
        """Forget the lines before `place`."""
        lines = place - self.base // self.size
        del self.data[: lines * self.size]
        del self._times[:lines]
        self.base += lines * self.size

    def beginning(self, offset: int) -> bytes:
        """The part before `offset` of the line that it lies in."""
        return bytes(self.data[offset - offset % self.size - self.base : offset - self.base])

    def expected_at(self, offset: int) -> list[int]:
        """By sender, the number of the next line for a client that has come to this offset."""
        expected = list(self._next)
        for start in range(offset - offset % self.size - self.base, len(self.data), self.size):
            expected[sender_of(self.data[start : start + self.size])] -= 1
        return expected


class Stray:
    """A client that sees another order than the record, or faults: checked line by line.

    client: its number. expected: by sender, the number of the line that should come next.
    deliver(sender, number) is called for each line that came for the first time.
    """

    def __init__(self, client: int, order: Order, expected: list[int], faults: Faults, deliver: Callable):
        self.client = client
        self.order = order
        self.expected = expected
        self.missing: list[set[int]] = [set() for _ in expected]
        self.rest = b""
        self.notice = b""  # the last line of the server's own, which begins with "* "
        self._faults = faults
        self._deliver = deliver

    def feed(self, data: bytes) -> None:
        """Check what came."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for text in lines:
            self._check(text + b"\n")

    def _check(self, line: bytes) -> None:
        if line.startswith(b"* "):
            self.notice = line
            return
        sender, number = sender_of(line), number_of(line)
        if (
            not 0 <= sender < self.order.senders
            or not 0 <= number < len(self.order.sent_at[sender])
            or line != make_line(sender, number, self.order.size)
        ):
            self._note("torn", f"got {shown(line)}, which nobody sent")
        elif sender == self.client:
            self._note("echoed", f"got its own line {number}")
        elif number >= self.expected[sender]:
            self.missing[sender].update(range(self.expected[sender], number))
            self.expected[sender] = number + 1
            self._deliver(sender, number)
        elif number in self.missing[sender]:
            self.missing[sender].discard(number)
            self._note("reordered", f"got line {number} of client {sender} after line {self.expected[sender] - 1}")
            self._deliver(sender, number)
        else:
            self._note("repeated", f"got line {number} of client {sender} again")

    def finish(self, senders: list[int]) -> None:
        """Note what has not come of these senders' lines, and text that has no end."""
        for sender in senders:
            if sender == self.client:
                continue
            sent = len(self.order.sent_at[sender])
            lost = sorted(self.missing[sender]) + list(range(self.expected[sender], sent))
            if lost:
                which = f"line {lost[0]}" if len(lost) == 1 else f"{len(lost)} lines from {lost[0]} on"
                self._faults.note("lost", f"client {self.client} never got {which} of client {sender}", len(lost))
        if self.rest:
            self._note("torn", f"got {shown(self.rest)} without an end")

    def _note(self, kind: str, words: str) -> None:
        self._faults.note(kind, f"client {self.client} {words}")


def sender_of(line: bytes) -> int:
    """The sender whose number the line begins with; -1 when it begins with none."""
    return int(line[:5]) if line[:5].isdigit() else -1


def number_of(line: bytes) -> int:
    """The line's number among its sender's; -1 when there is none."""
    return int(line[6:15]) if line[6:15].isdigit() else -1

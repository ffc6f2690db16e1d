"""Much data through a room, by one thread: who sends, who reads all, who reads only now and then."""

import select
import time
from collections.abc import Callable, Iterable, Sequence

from chatlab.launch.program import scale
from chatlab.load import Client
from tests.conformance.room import Fault, Room, difference

LINE_BYTES = 1000
LAZY_SECONDS = 0.005  # so long must the room stand still before a lazy reader reads
LAZY_BYTES = 1 << 18
FLOOD_BYTES = 1 << 28
RECEIVE_BYTES = 1 << 18


def lines(count: int) -> bytes:
    """About `count` bytes of different lines, 1000 bytes each."""
    return b"".join(b"%08d %s\n" % (number, b"#" * (LINE_BYTES - 10)) for number in range(count // LINE_BYTES))


class Flow:
    """Non-blocking sends and receives over some clients of a room. Used in a `with` block."""

    def __init__(self, room: Room, sender: Client, data: bytes, readers: Iterable[Client], lazy: Iterable[Client] = ()):
        self.room, self.sender = room, sender
        self.data = memoryview(data)
        self.came = {reader: bytearray() for reader in (*readers, *lazy)}
        self._poller = select.poll()
        self._by_descriptor = {client.socket.fileno(): client for client in {sender, *readers}}
        self._moved = time.monotonic()

    def __enter__(self) -> "Flow":
        for client in {self.sender, *self.came}:
            client.socket.setblocking(False)
        return self

    def __exit__(self, *exception) -> None:
        for client in {self.sender, *self.came}:
            client.socket.settimeout(client.timeout)

    def turn(self, wait: float) -> bool:
        """Move what can be moved within `wait` seconds; False when nothing could."""
        for descriptor, client in self._by_descriptor.items():
            sends = client is self.sender and len(self.data) > 0
            self._poller.register(descriptor, select.POLLOUT * sends | select.POLLIN * (client in self.came))
        ready = self._poller.poll(wait * 1000)
        for descriptor, event in ready:
            client = self._by_descriptor[descriptor]
            if event & select.POLLOUT:
                self.data = self.data[self._send(client) :]
            if event & ~select.POLLOUT:
                self.read(client)
        if ready:
            self._moved = time.monotonic()
        return bool(ready)

    def _send(self, client: Client) -> int:
        try:
            return client.socket.send(self.data[: 1 << 20])
        except ConnectionError:
            raise self._ended(client) from None

    def _ended(self, client: Client) -> Fault:
        return Fault(
            "keep everybody who sends, or reads",
            f"it ended the connection of a client that had received {len(self.came.get(client, b'')):,} bytes",
            "a reader that is slow, or waits for its turn, is taken for one that does not read",
        )

    def read(self, client: Client, most: int = RECEIVE_BYTES) -> int:
        """Read once, what is there, `most` bytes at most."""
        if not most:
            return 0
        try:
            data = client.socket.recv(most)
        except BlockingIOError:
            return 0
        except ConnectionResetError:
            data = b""
        if not data:
            raise self._ended(client)
        self.came[client] += data
        self._moved = time.monotonic()
        return len(data)

    def stands_still(self) -> bool:
        """Whether nothing has moved for the room's time."""
        return time.monotonic() > self._moved + self.room.timeout * scale()


def pour(
    room: Room,
    sender: Client,
    data: bytes,
    readers: Sequence[Client],
    lazy: Sequence[Client] = (),
    lazy_rate: float | None = None,
    meanwhile: Callable[[int], None] = lambda done: None,
) -> None:
    """Send `data`, and have every reader get it, byte for byte. Raises Fault.

    meanwhile: called in every turn with the bytes that the last of the readers has.

    The lazy ones read 256 KiB whenever the room stands still, so when nobody can go on without them; with lazy_rate,
    in bytes a second, they read at that rate instead.
    """
    everybody = [*readers, *lazy]
    began = time.monotonic()
    with Flow(room, sender, data, readers, lazy) as flow:
        while any(len(flow.came[client]) < len(data) for client in everybody):
            moved = flow.turn(LAZY_SECONDS)
            meanwhile(min(len(came) for came in flow.came.values()))
            for client in lazy:
                if lazy_rate is not None:
                    allowed = int((time.monotonic() - began) * lazy_rate) - len(flow.came[client])
                    flow.read(client, max(allowed, 0))
                elif not moved:
                    flow.read(client, LAZY_BYTES)
            if flow.stands_still():
                behind = min(everybody, key=lambda client: len(flow.came[client]))
                raise Fault(
                    f"relay all {len(data):,} bytes to everybody who reads",
                    f"after {len(flow.came[behind]):,} of them nothing moved for {room.timeout * scale():g} s",
                    "bytes that the kernel did not take are dropped, or one that does not read holds up all the others",
                )
    for client in everybody:
        if bytes(flow.came[client]) != data:
            raise Fault(
                f"relay all {len(data):,} bytes in order",
                difference(bytes(flow.came[client]), data),
                "what a send did not take is dropped, or sent again from the beginning",
            )


def flood(room: Room, flooder: Client, talker: Client, readers: Sequence[Client], count: int) -> None:
    """While `flooder` sends as much as it can, `count` lines of `talker` reach every reader, one after another."""
    supply = b"flood %s\n" % (b"~" * 900) * 1000
    sent = len(supply)
    with Flow(room, flooder, supply, {talker, *readers}) as flow:  # a talker that did not read would be ended
        for number in range(count):
            said = b"talk %d\n" % number
            talker.socket.send(said)
            deadline = time.monotonic() + room.timeout * scale()
            waiting = set(readers)
            while waiting:
                flow.turn(LAZY_SECONDS)
                if not flow.data and sent < FLOOD_BYTES:
                    sent += len(supply)
                    flow.data = memoryview(supply)
                for client in (talker, *readers):
                    came = flow.came[client]
                    if said in came:
                        waiting.discard(client)
                    del came[: -len(said)]  # what was looked through; a line may lie across two receives
                if waiting and time.monotonic() > deadline:
                    who = "the one that floods" if flooder in waiting else "another client"
                    raise Fault(
                        "relay a talker's lines while somebody floods the room",
                        f"line {number} of the talker had not reached {who} after {room.timeout * scale():g} s",
                        "the loudest is read first, or until EAGAIN; or `else if` between POLLIN and POLLOUT",
                    )

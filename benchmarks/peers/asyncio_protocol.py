"""A relay of lines on asyncio's Protocol: what was read goes on at once, one transport.write for each read and client.

A read brings one line, or the several that a sender had ready; with --per-line they are written one by one, as simpler
servers do. transport.write sends at once while nothing waits, and keeps the rest in a buffer of its own. asyncio lets
that buffer grow without end unless one listens to pause_writing. Here, above 1 MiB for one client, nobody is read until
it has drained to three quarters: no line is lost, memory stays bounded, and a slow reader slows the room. A client that
stays full for a second is closed. asyncio and uvloop set TCP_NODELAY by themselves.

Sources: docs.python.org/3/library/asyncio-protocol.html; `asyncio/selector_events.py`.
"""

import argparse
import asyncio
import os

from common import BACKLOG, LINE_BYTES, QUEUE_BYTES, parser, run

STALL_SECONDS = float(os.environ.get("STALL_SECONDS", "1.0"))  # a test on a busy machine has more patience


class Room:
    """Everyone who is connected, and whose buffers are full. per_line: write each line by itself."""

    def __init__(self, per_line: bool):
        self.per_line = per_line
        self.members: set[asyncio.Transport] = set()
        self.full: dict[asyncio.Transport, asyncio.TimerHandle] = {}

    def send(self, message: bytes, sender: asyncio.Transport) -> None:
        """Write it to everyone else."""
        for member in self.members:
            if member is not sender:
                member.write(message)

    def hold(self, transport: asyncio.Transport) -> None:
        """This client's buffer is full: the first one stops the reading of everyone."""
        if not self.full:
            for member in self.members:
                member.pause_reading()
        self.full[transport] = asyncio.get_running_loop().call_later(STALL_SECONDS, transport.abort)

    def release(self, transport: asyncio.Transport) -> None:
        """It has drained, or gone: after the last one everyone is read again."""
        timer = self.full.pop(transport, None)
        if timer is None:
            return
        timer.cancel()
        if not self.full:
            for member in self.members:
                member.resume_reading()


class Relay(asyncio.Protocol):
    """One client of the room."""

    def __init__(self, room: Room):
        self.room = room
        self.rest = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=QUEUE_BYTES, low=QUEUE_BYTES // 4 * 3)
        self.room.members.add(transport)
        if self.room.full:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        whole, newline, self.rest = (self.rest + data).rpartition(b"\n")
        if not newline:
            pass
        elif self.room.per_line:
            for line in whole.split(b"\n"):
                self.room.send(line + newline, self.transport)
        else:
            self.room.send(whole + newline, self.transport)
        if len(self.rest) >= LINE_BYTES:
            self.transport.abort()

    def pause_writing(self) -> None:
        self.room.hold(self.transport)

    def resume_writing(self) -> None:
        self.room.release(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.room.members.discard(self.transport)
        self.room.release(self.transport)


async def relay(port: int, per_line: bool) -> asyncio.Server:
    """The listening server."""
    room = Room(per_line)
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Relay(room), "127.0.0.1", port, backlog=BACKLOG)


def parse_arguments() -> argparse.Namespace:
    options = parser("A relay of lines on asyncio's Protocol.")
    options.add_argument("--per-line", action="store_true", help="write each line by itself")
    return options.parse_args()


if __name__ == "__main__":
    arguments = parse_arguments()
    run(lambda port: relay(port, arguments.per_line), arguments)

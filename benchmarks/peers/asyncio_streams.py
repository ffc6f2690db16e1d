"""A relay of lines on asyncio's streams: readline, write, drain, a task for each client.

drain waits while a client's buffer is above its limit, so memory stays bounded and no line is lost; the sender waits
for the slowest reader, and every sender does so for one that does not read at all. asyncio sets TCP_NODELAY by itself.

Source: docs.python.org/3/library/asyncio-stream.html.
"""

import asyncio

from common import BACKLOG, LINE_BYTES, QUEUE_BYTES, parser, run


class Room:
    """Everyone who is connected."""

    def __init__(self):
        self.members: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one client's lines until its end."""
        writer.transport.set_write_buffer_limits(high=QUEUE_BYTES, low=QUEUE_BYTES // 4 * 3)
        self.members.add(writer)
        try:
            while line := await reader.readline():
                await self.send(line, writer)
        except (ValueError, ConnectionError):  # a line that is too long; a reset
            pass
        finally:
            self.members.discard(writer)
            writer.close()

    async def send(self, line: bytes, sender: asyncio.StreamWriter) -> None:
        """Write the line to everyone else, then wait for those who have too much to read."""
        others = [member for member in self.members if member is not sender]
        for other in others:
            other.write(line)
        for other in others:
            try:
                await other.drain()
            except ConnectionError:  # it has gone: its own task sees to it
                pass


async def relay(port: int) -> asyncio.Server:
    """The listening server."""
    # A line of `limit` bytes before its newline is allowed.
    return await asyncio.start_server(Room().serve, "127.0.0.1", port, limit=LINE_BYTES - 1, backlog=BACKLOG)


if __name__ == "__main__":
    run(relay, parser("A relay of lines on asyncio's streams.").parse_args())

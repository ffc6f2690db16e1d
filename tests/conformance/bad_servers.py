"""Servers with one step done wrong, for each case of the suite that no pitfall of lab 04 fails.

python tests/conformance/bad_servers.py NAME --port 0
"""

import builtins
import select
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "labs/04_poll_server"))

import poll_server
from poll_server import Client, PollServer


class OneLineAChunk(PollServer):
    def gather(self, client: Client, data: bytes) -> None:
        line, newline, rest = data.partition(b"\n")
        super().gather(client, line + newline)
        client.partial += rest if newline else b""


class NoEmptyLines(PollServer):
    def gather(self, client: Client, data: bytes) -> None:
        super().gather(client, b"".join(line for line in data.splitlines(keepends=True) if line != b"\n"))


class SmallBuffer(PollServer):
    def gather(self, client: Client, data: bytes) -> None:
        super().gather(client, data[:4096])


class OffByOne(PollServer):
    pass


class EndlessLines(PollServer):
    pass


class Strips(PollServer):
    def gather(self, client: Client, data: bytes) -> None:
        super().gather(client, data.replace(b"\r\n", b"\n"))


class Echoes(PollServer):
    def relay(self) -> None:
        for client, lines in self.said.items():
            self.enqueue(client, memoryview(lines))
        super().relay()


class BackToFront(PollServer):
    def gather(self, client: Client, data: bytes) -> None:
        super().gather(client, data)
        if client in self.said:
            self.said[client] = b"".join(reversed(self.said[client].splitlines(keepends=True)))


class DropsTheUnfinished(PollServer):
    def end_of_input(self, client: Client) -> None:
        client.partial.clear()
        super().end_of_input(client)


class FinishesAtReset(PollServer):
    def hang_up(self, client: Client) -> None:
        if client.partial and client.speaks:
            self.said[client] = bytes(client.partial) + b"\n"
        super().hang_up(client)


class EndsAtReset(PollServer):
    def hang_up(self, client: Client) -> None:
        raise ConnectionResetError


class EndsAtBrokenPipe(PollServer):
    def hang_up(self, client: Client) -> None:
        pass

    def stop_sending(self, client: Client) -> None:
        raise BrokenPipeError


class ClosesAtHangUp(PollServer):
    def watch(self, client: Client) -> None:
        super().watch(client)
        if client.events:
            client.events |= select.POLLRDHUP
            self.poller.modify(client.fd, client.events)

    def turn(self, ready: list[tuple[int, int]]) -> None:
        for fd, revents in ready:
            if revents & select.POLLRDHUP:
                self.remove(self.clients[fd])
        super().turn([(fd, revents) for fd, revents in ready if not revents & select.POLLRDHUP])


class ReadsTheLoudest(PollServer):
    loudest: Client | None = None  # who has said so much that nobody else is read any more

    def gather(self, client: Client, data: bytes) -> None:
        super().gather(client, data)
        if len(data) > 10_000:
            self.loudest = client

    def turn(self, ready: list[tuple[int, int]]) -> None:
        loudest = self.loudest and self.loudest.fd
        others = [fd for fd in self.clients if loudest in self.clients and fd != loudest]
        super().turn([(fd, revents & ~select.POLLIN if fd in others else revents) for fd, revents in ready])


class AwakeAtEndOfInput(PollServer):
    def watch(self, client: Client) -> None:
        super().watch(client)
        if client.events is not None and not client.speaks:
            client.events |= select.POLLIN
            self.poller.modify(client.fd, client.events)


class AwakeBesideTheBroken(PollServer):
    def hang_up(self, client: Client) -> None:
        pass


class Leaks(PollServer):
    leaked: list = []

    def remove(self, client: Client) -> None:
        self.leaked.append(client.sock.dup())
        super().remove(client)


class KeepsEveryView(PollServer):
    def keep(self, client: Client, part: memoryview) -> None:
        client.queue.append(part)


class WatchesTheForgotten(PollServer):
    def dismiss(self, client: Client, notice: str) -> None:
        super().dismiss(client, notice)
        if self.senders_wait and client.fd not in self.clients:
            self.poller.register(client.fd, select.POLLIN)


class Greets(PollServer):
    def welcome(self, client: Client) -> None:
        super().welcome(client)
        client.sock.send(b"* welcome\n")


class OneHundredOnly(PollServer):
    def welcome(self, client: Client) -> None:
        if client.fd > 100:
            client.sock.close()
        else:
            super().welcome(client)


class SaysItLate(PollServer):
    pass


class TracebackAtBind(PollServer):
    @staticmethod
    def open_listener(host: str, port: int) -> socket.socket:
        try:
            return PollServer.open_listener(host, port)
        except OSError as error:
            raise RuntimeError("bind") from error


class AnyPort(PollServer):
    pass


class TracebackAtSignals(PollServer):
    pass


class KeepsTheHalfClosed(PollServer):
    def set_timer(self, seconds, action, who) -> None:
        if action.__name__ != "remove":
            super().set_timer(seconds, action, who)


def buffered_print(*words, flush=False) -> None:
    builtins.print(*words)


def change_module(server: type) -> None:
    """What is not a method of the server, but stands around it."""
    if server is OffByOne:
        poll_server.LINE_BYTES -= 1
    if server is EndlessLines:
        poll_server.LINE_BYTES = 1 << 30
    if server is SaysItLate:
        poll_server.print = buffered_print
    if server is AnyPort:
        poll_server.Parser.error = lambda parser, message: None
    if server is TracebackAtSignals:
        signal.signal = lambda number, handler: None


if __name__ == "__main__":
    chosen = globals()[sys.argv.pop(1)]
    change_module(chosen)
    poll_server.main(chosen)

"""Servers with one step done wrong, for each case of the suite that no pitfall fails: lab 04's server, then lab 05's.

python tests/conformance/bad_servers.py NAME --port 0
"""

import builtins
import os
import select
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "labs/04_poll_server"))
sys.path.insert(0, str(Path(__file__).parents[2] / "labs/05_epoll_fork_shm"))

import fork_shm_server
import poll_server
from fork_shm_server import Bell, Child, ClientProcess, ForkShmServer, Reader
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


class AnOrderForEach(PollServer):
    def relay(self) -> None:
        said, self.said = self.said, {}
        for place, client in enumerate(self.clients.values()):
            lines = [lines for speaker, lines in said.items() if speaker is not client]
            if lines and client.hears:
                self.enqueue(client, *map(memoryview, reversed(lines) if place % 2 else lines))


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


# With a process for each client.


class LeavesZombies(ForkShmServer):
    def bury(self, child: Child) -> None:
        os.waitpid = lambda pid, options: (pid, 0)
        super().bury(child)


class FallsWithAChild(ForkShmServer):
    def bury(self, child: Child) -> None:
        raise ConnectionResetError


class KeepsThePlace(ForkShmServer):
    def bury(self, child: Child) -> None:
        super().bury(child)
        del self.slots[2:]


class EndsGently(ForkShmServer):
    def bury(self, child: Child) -> None:
        os.kill(child.pid, signal.SIGTERM)
        os.kill = lambda pid, number: None
        super().bury(child)


class LetsNothingGo(ForkShmServer):
    def let_go(self) -> None:
        pass


class OutlivesItsParent(ForkShmServer):
    pass


class WaitsUntilItIsRead(ForkShmServer):
    pass


class WaitingBell(Bell):
    def ring(self, what: bytes = fork_shm_server.LOOK) -> None:
        self.sock.setblocking(True)
        super().ring(what)
        self.sock.setblocking(False)


class OneLineForEachBell(ForkShmServer):
    pass


class NewestEntry(Reader):
    def take(self) -> bool:
        if not self.views:
            self.taken = max(self.taken, self.words[self.log.ORDERED] - 1)
        return super().take()


class SpinsInTheChild(ForkShmServer):
    pass


class SpinningChild(ClientProcess):
    def watch(self) -> None:
        self.blocked = True
        super().watch()


class AnObjectForEachLine(ForkShmServer):
    pass


class HoardingChild(ClientProcess):
    def deliver(self) -> None:
        held, self.reader.views = self.reader.views, []
        while self.reader.take():
            held += [memoryview(bytes(view)) for view in self.reader.views]
            self.reader.done(sum(map(len, self.reader.views)))
        self.reader.views, self.reader._ends = held, [self.reader.taken] * len(held)
        super().deliver()


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
    if server is OutlivesItsParent:
        fork_shm_server.LIBC.prctl = lambda *arguments: 0
    if server is WaitsUntilItIsRead:
        fork_shm_server.Bell = WaitingBell
    if server is OneLineForEachBell:
        fork_shm_server.Reader = NewestEntry
    if server is SpinsInTheChild:
        fork_shm_server.ClientProcess = SpinningChild
    if server is AnObjectForEachLine:
        fork_shm_server.ClientProcess = HoardingChild


if __name__ == "__main__":
    chosen = globals()[sys.argv.pop(1)]
    change_module(chosen)
    (fork_shm_server if issubclass(chosen, ForkShmServer) else poll_server).main(chosen)

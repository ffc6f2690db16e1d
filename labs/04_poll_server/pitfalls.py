"""Wrong versions worth seeing: each is the server with one small step replaced, and named for its symptom.

    python labs/04_poll_server/pitfalls.py                     lists them
    python labs/04_poll_server/pitfalls.py NAME --port 0       runs one, with the server's options

Most of them are mistakes of the one-process server that many textbooks and pages show.
"""

import contextlib
import os
import select
import socket
import sys

import poll_server
from poll_server import Client, PollServer, log, run_program

EVENT_BITS = 0xFFFF  # an event mask is a short: poll(2)


# Wake-ups for nothing.


class BusyAfterTheFirstLine(PollServer):
    """Symptom: after the first line one processor is 100 % busy, and stays so.
    Cause: `events |= ~POLLOUT` was to clear a bit. It sets all the others, and one says "can be written" as well.
    Cure: `events &= ~POLLOUT`; or do not change a mask, but compute it anew from what is wanted.
    """

    def watch(self, client: Client) -> None:
        has_been_watched = client.events is not None
        super().watch(client)
        if has_been_watched and client.events is not None and not client.queue:
            client.events |= ~select.POLLOUT & EVENT_BITS
            self.poller.modify(client.fd, client.events)


class BusyWithNothingToSend(PollServer):
    """Symptom: one processor is 100 % busy while nobody says a word.
    Cause: POLLOUT is asked for always, and a connection can nearly always be written to, so poll never sleeps.
    Cure: ask for POLLOUT only while something is queued.
    """

    def watch(self, client: Client) -> None:
        super().watch(client)
        if client.events is not None:
            client.events |= select.POLLOUT
            self.poller.modify(client.fd, client.events)


class BusyWithoutDescriptors(PollServer):
    """Symptom: all descriptors are in use, somebody wants to come in, and one processor is 100 % busy.
    Cause: accept fails (EMFILE) and nobody has been accepted, so the listener stays readable, and poll says so at once.
    Cure: ask no more for newcomers, until somebody has left or for a second.
    """

    def rest(self, error: OSError) -> None:
        pass


# Lines that are lost, cut or mixed.


class OnlyTheLastLine(PollServer):
    """Symptom: two people speak at the same moment, and one of them is not heard.
    Cause: a client has room for one message, a pointer to it; the second of a turn replaces the first.
    Cure: a queue for each client.
    """

    def relay(self) -> None:
        for speaker, lines in self.said.items():
            for client in self.clients.values():
                if client is not speaker and client.hears:
                    client.queue, client.queued = [memoryview(lines)], len(lines)
        self.said = {}
        for client in list(self.clients.values()):
            self.watch(client)  # poll will say when it can be sent


class HolesForSlowReaders(PollServer):
    """Symptom: a slow reader misses lines, and parts of lines; nobody is told.
    Cause: the kernel took a part, or nothing (EAGAIN), and what it did not take was dropped as if it had been sent.
    Cure: look at what send returns, keep the rest, and send it when poll says POLLOUT.
    """

    def take_from_queue(self, client: Client, sent: int) -> None:
        client.queue, client.queued = [], 0


class CutAtNul(PollServer):
    """Symptom: of a line with a NUL in it the end is missing, and the next line is glued to its beginning.
    Cause: what was received is taken for a C string (strlen), which ends at the first NUL.
    Cure: recv returns how many bytes came; those are the message, whatever they are.
    """

    def gather(self, client: Client, data: bytes) -> None:
        super().gather(client, data.partition(b"\0")[0])


class LinesMixed(PollServer):
    """Symptom: a line begins with the words of one person and ends with another's.
    Cause: what recv gives is passed on as it is: half a line, and then somebody else's.
    Cure: keep what has no newline yet, for each client, and pass on whole lines only.
    """

    def gather(self, client: Client, data: bytes) -> None:
        self.said[client] = data


class LastWordsLost(PollServer):
    """Symptom: somebody says something and leaves in a hurry; nobody hears it.
    Cause: POLLIN and POLLHUP come together, and the hang-up is handled first, by closing what was still to be read.
    Cure: read until recv gives 0 bytes or an error, then close.
    """

    def hang_up(self, client: Client) -> None:
        self.remove(client)


class GoneAtHalfClose(PollServer):
    """Symptom: `printf 'hello' | nc` hears no answer, and its unfinished line is lost.
    Cause: 0 bytes from recv are taken for "it has left". They say: it will not speak any more.
    Cure: go on sending to it, until a send fails or some time has passed.
    """

    def end_of_input(self, client: Client) -> None:
        self.remove(client)


class DeafNewcomers(PollServer):
    """Symptom: of people who come together, some miss a line that was said after they had come.
    Cause: one accept for each turn of the loop: the others wait in the backlog, while the line is passed on.
    Cure: accept until EAGAIN, before anything is read.
    """

    def accept(self) -> None:
        sock, (host, port) = self.listener.accept()
        self.welcome(Client(sock, f"{host}:{port}"))


# Readers that are slow, or do not read.


class FrozenRoom(PollServer):
    """Symptom: one client does not read, and nobody hears anything any more.
    Cause: the connection is blocking, so the server waits in a send to this one client, and for nobody else.
    Cure: O_NONBLOCK, and a queue for what the kernel does not take.
    """

    def welcome(self, client: Client) -> None:
        super().welcome(client)
        os.set_blocking(client.fd, True)


class MemoryWithoutBound(PollServer):
    """Symptom: one client does not read, and the server's memory grows with every line.
    Cause: its queue has no bound.
    Cure: a limit; while a queue is full nobody is read, and a reader that takes nothing for a time is evicted.
    """

    def judge_reader(self, client: Client, sent: int) -> None:
        pass


class StarvedByItsOwnWords(PollServer):
    """Symptom: who talks without a pause hears nothing, although it reads.
    Cause: "can be written" is an else-if behind "can be read", and who always talks can always be read.
    Cure: two ifs: one descriptor can be ready for both.
    """

    def turn(self, ready: list[tuple[int, int]]) -> None:
        super().turn([(fd, revents & ~select.POLLOUT if revents & select.POLLIN else revents) for fd, revents in ready])


class LateLines(PollServer):
    """Symptom: in a talk to and fro, the second of two lines comes 40 ms late.
    Cause: without TCP_NODELAY a small segment waits for the last one's ACK (Nagle), and the peer delays its ACK.
    Cure: TCP_NODELAY, in a program that gathers what it has to say by itself.
    """

    def welcome(self, client: Client) -> None:
        super().welcome(client)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)


# The beginning and the end.


class NoRestart(PollServer):
    """Symptom: stopped and started again, it cannot listen: Address already in use. A minute later it can.
    Cause: the server closed its connections first, so the kernel keeps them in TIME_WAIT, on its port.
    Cure: SO_REUSEADDR before bind.
    """

    @staticmethod
    def open_listener(host: str, port: int) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((host, port))
        listener.listen(socket.SOMAXCONN)
        return listener


class ResetInsteadOfNotice(PollServer):
    """Symptom: who is turned away while it speaks reads "Connection reset by peer", behind the reason or instead of it.
    Cause: a close over unread bytes sends RST, and after that no byte of the notice is sent again.
    Cure: notice, shutdown(SHUT_WR), read on until the client has closed or a little time has passed; then close.
    """

    def dismiss(self, client: Client, notice: str) -> None:
        log(f"{client.name}: {notice}")
        with contextlib.suppress(OSError):
            client.sock.send(f"* {notice}\n".encode())
        self.remove(client)


PITFALLS = {
    "busy-after-the-first-line": BusyAfterTheFirstLine,
    "busy-with-nothing-to-send": BusyWithNothingToSend,
    "busy-without-descriptors": BusyWithoutDescriptors,
    "only-the-last-line": OnlyTheLastLine,
    "holes-for-slow-readers": HolesForSlowReaders,
    "cut-at-nul": CutAtNul,
    "lines-mixed": LinesMixed,
    "last-words-lost": LastWordsLost,
    "gone-at-half-close": GoneAtHalfClose,
    "deaf-newcomers": DeafNewcomers,
    "frozen-room": FrozenRoom,
    "memory-without-bound": MemoryWithoutBound,
    "starved-by-its-own-words": StarvedByItsOwnWords,
    "late-lines": LateLines,
    "no-restart": NoRestart,
    "reset-instead-of-notice": ResetInsteadOfNotice,
}


def main() -> None:
    if len(sys.argv) == 1:
        print("usage: python labs/04_poll_server/pitfalls.py NAME --port 0")
        for name, pitfall in PITFALLS.items():
            print(f"  {name:26} {pitfall.__doc__.splitlines()[0]}")
        return
    name = sys.argv.pop(1)
    if name not in PITFALLS:
        sys.exit(f"pitfalls.py: no pitfall {name!r}; there are: {', '.join(PITFALLS)}")
    poll_server.main(PITFALLS[name])


if __name__ == "__main__":
    run_program(main)

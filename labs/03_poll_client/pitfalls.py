"""Wrong versions worth seeing: each is the client with one small step replaced, and named for its symptom.

    python labs/03_poll_client/pitfalls.py                     lists them
    python labs/03_poll_client/pitfalls.py NAME HOST PORT      runs one, with the client's options

The first six are mistakes of the client that many textbooks and pages show.
"""

import contextlib
import os
import select
import sys

import poll_client
from poll_client import CHUNK_BYTES, KEYBOARD, SCREEN, PollClient, run_program, write_all


class LateLines(PollClient):
    """Symptom: each typed line reaches the server about 200 ms late.
    Cause: SPLICE_F_MORE promises more bytes, so TCP waits for them before it sends a segment that is not full.
    Cure: leave the flag out; or set it only where more is sure to follow at once.
    """

    def give_by_splice(self):
        flags = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MORE
        return os.splice(self.pipe[0], self.connection.fileno(), self.left, flags=flags)


class DeafAtTheEnd(PollClient):
    """Symptom: at the end of the input (^D, a file's end) the client hangs, and prints no more.
    Cause: the first splice says 0 or EINVAL, nobody looks, and the second waits for bytes in its own empty pipe.
    Cure: take 0 for the end of the input; give the socket only what is known to be in the pipe.
    """

    def handle_keyboard(self, revents):
        with contextlib.suppress(OSError):
            os.splice(KEYBOARD, self.pipe[1], CHUNK_BYTES)
        os.splice(self.pipe[0], self.connection.fileno(), CHUNK_BYTES)


class LastWordsLost(PollClient):
    """Symptom: the server's last words before it closes are not printed.
    Cause: data and FIN are reported together, POLLIN and POLLRDHUP, and POLLRDHUP is handled first, by leaving.
    Cure: read until end of file, then leave.
    """

    def handle_server(self, revents):
        if revents & select.POLLRDHUP:
            self.server_ended = True
        elif revents & select.POLLIN:
            self.receive()


class BusyAtHangUp(PollClient):
    """Symptom: the writer of the client's pipe has ended: no FIN, and one processor 100 % busy.
    Cause: a pipe without a writer is POLLHUP and not POLLIN, nobody handles that, and poll never sleeps again.
    Cure: take POLLHUP for ready, too: the splice gives 0, so half-close and poll the input no more.
    """

    def handle_keyboard(self, revents):
        if revents & select.POLLIN:
            super().handle_keyboard(revents)


class LinesTorn(PollClient):
    """Symptom: a line of 150 bytes is printed as three, and what follows a NUL in it is missing.
    Cause: each piece of the stream is taken for a line, and for a C string: 63 bytes and a terminator.
    Cure: a stream has neither lines nor strings; write the bytes that came, and how many came.
    """

    def show(self, data, last=False):
        for start in range(0, len(data), 63):
            string = data[start : start + 63].partition(b"\0")[0]
            write_all(SCREEN, string.rstrip(b"\n") + b"\n")


class SilentWhileSending(PollClient):
    """Symptom: while the server does not read, nothing of what it says is printed.
    Cause: the socket blocks, so the client waits in splice for room, and not in poll for what comes first.
    Cure: a non-blocking socket; what it does not take stays in the pipe until poll says POLLOUT.
    """

    def give(self):
        self.connection.setblocking(True)
        while self.left:
            super().give()
        self.connection.setblocking(False)


class HalfAFile(PollClient):
    """Symptom: a big file stops half-way, one processor 100 % busy; a smaller one loses its end.
    Cause: a short move, of 10,000 bytes of 32,768 say, is taken for a whole one; the rest stays in the pipe for good.
    Cure: count what is left in the pipe, and move it, when poll says POLLOUT, before anything is added.
    """

    def give(self):
        super().give()
        self.left = 0


class BusyWithNothingToSend(PollClient):
    """Symptom: one processor is 100 % busy while nobody types and nobody speaks.
    Cause: POLLOUT is asked for always, and a connection has nearly always room, so poll never sleeps.
    Cure: ask for POLLOUT only while something is left to send.
    """

    def wait(self):
        poller = select.poll()
        if not self.left and not self.input_ended:
            poller.register(KEYBOARD, select.POLLIN)
        poller.register(self.connection, select.POLLIN | select.POLLRDHUP | select.POLLOUT)
        return poller.poll()


class ConnectedToNobody(PollClient):
    """Symptom: nobody listens there, and yet the client says that a connection was lost.
    Cause: POLLOUT is taken for success. It says that the attempt is over, and a failed one is writable too.
    Cure: ask for SO_ERROR by getsockopt; if it is not 0, try the host's next address.
    """

    def outcome(self, connection):
        poller = select.poll()
        poller.register(connection, select.POLLOUT)
        poller.poll()
        return 0


class ObeysStrangers(PollClient):
    """Symptom: another user's line clears your screen, or says what nobody has said.
    Cause: the bytes go to the terminal as they are, and a terminal obeys escape sequences, whoever sends them.
    Cure: on a terminal, show control characters as text: ESC as ^[.
    """

    def show(self, data, last=False):
        write_all(SCREEN, data)


class ShellWithoutWaiting(PollClient):
    """Symptom: another program on the same input ends: Resource temporarily unavailable.
    Cause: O_NONBLOCK on descriptor 0 belongs to the open file, which the shell and its other programs share.
    Cure: leave 0, 1 and 2 as they are; SPLICE_F_NONBLOCK and MSG_DONTWAIT are for one call.
    """

    def wait(self):
        os.set_blocking(KEYBOARD, False)
        return super().wait()


PITFALLS = {
    "late-lines": LateLines,
    "deaf-at-the-end": DeafAtTheEnd,
    "last-words-lost": LastWordsLost,
    "busy-at-hang-up": BusyAtHangUp,
    "lines-torn": LinesTorn,
    "silent-while-sending": SilentWhileSending,
    "half-a-file": HalfAFile,
    "busy-with-nothing-to-send": BusyWithNothingToSend,
    "connected-to-nobody": ConnectedToNobody,
    "obeys-strangers": ObeysStrangers,
    "shell-without-waiting": ShellWithoutWaiting,
}


def main():
    if len(sys.argv) == 1:
        print("usage: python labs/03_poll_client/pitfalls.py NAME HOST PORT")
        for name, pitfall in PITFALLS.items():
            print(f"  {name:26} {pitfall.__doc__.splitlines()[0]}")
        return
    name = sys.argv.pop(1)
    if name not in PITFALLS:
        sys.exit(f"pitfalls.py: no pitfall {name!r}; there are: {', '.join(PITFALLS)}")
    poll_client.main(PITFALLS[name])


if __name__ == "__main__":
    run_program(main)

"""A chat server in one process: what a client says, line by line, goes to every other client.

One poll watches the listener and all connections, and nothing here waits but poll. A turn of the loop reads what is
there, joins it into one block of whole lines, and sends to each client once: views of that block, without what it said
itself. What the kernel does not take at once waits in the client's queue. While a queue is full nobody is read, so that
TCP's flow control holds the senders back; a reader that takes nothing for `--stall-seconds` then is evicted.

Sources: Stevens, UNIX Network Programming, 6.10, 6.11 and 16; Kerrisk, The Linux Programming Interface, 61 and 63.2;
poll(2), accept(2), sendmsg(2), tcp(7).
"""

import argparse
import contextlib
import errno
import fcntl
import math
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import NoReturn

LINE_BYTES = 65536  # the longest line, its newline included
LEAST_BYTES, MOST_BYTES = 1024, 65536  # that one client may say in a turn
SMALL_BYTES = 16384  # a block as small as that is not worth copying a part of
UNSENT_BYTES = 65536  # the kernel takes so much for a client beyond what is on its way
IOV_MAX = 1024  # buffers for one sendmsg
LINGER_SECONDS = 2.0
SLOW_READER = 4  # the kernel tells of 100 kB/s about once a second: who is known to read gets so many times the time
REST_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 86400  # poll takes an int of milliseconds, 24 days at most
OTHER_DESCRIPTORS = 32  # standard streams, the listener, newcomers that are turned away, and some to spare
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # struct linger: close sends RST, and the kernel keeps nothing for the peer


def log(text: str) -> None:
    """One line to standard error, or none: a log that nobody reads, a full pipe or stopped terminal, stops no room."""
    with contextlib.suppress(OSError):
        if sys.stderr and select.select([], [2], [], 0)[1]:
            os.write(2, f"{text}\n".encode())


def set_nonblocking(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


class Client:
    """One connection: what it may do, its line that has no end yet, and what is still to be sent to it."""

    __slots__ = ("sock", "fd", "name", "events", "speaks", "hears", "partial", "queue", "queued", "slow")

    def __init__(self, sock: socket.socket, name: str):
        self.sock, self.fd, self.name = sock, sock.fileno(), name
        self.events: int | None = None  # what poll is asked for; None: not registered
        self.speaks = True  # until its end of input, or its dismissal
        self.hears = True  # until the connection is broken, or its dismissal
        self.partial = bytearray()
        self.queue: list[memoryview | bytearray] = []
        self.queued = 0  # bytes
        self.slow = False  # has it taken something out of a full queue?


class PollServer:
    """The server, step by step. `listener` is a listening TCP socket; `options` are those of the command line."""

    def __init__(self, listener: socket.socket, options: argparse.Namespace):
        self.listener, self.options = listener, options
        self.poller = select.poll()
        self.clients: dict[int, Client] = {}  # by descriptor
        self.said: dict[Client, bytes] = {}  # the whole lines that each said in this turn
        self.dismissed: set[Client] = set()
        self.full: set[Client] = set()  # readers with a full queue …
        self.senders_wait = False  # … which hold everybody back
        self.due: dict[tuple[Callable, object], float] = {}  # (what to do, with whom) → when, on the monotonic clock

    @staticmethod
    def open_listener(host: str, port: int) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart may find old ones in TIME_WAIT
        listener.bind((host, port))
        listener.listen(socket.SOMAXCONN)
        return listener

    def serve(self) -> NoReturn:
        set_nonblocking(self.listener.fileno())  # a newcomer may be gone again between poll and accept
        self.poller.register(self.listener, select.POLLIN)  # who is registered first comes first in poll's answer
        while True:
            self.turn(self.poller.poll(self.milliseconds_to_wait()))

    def turn(self, ready: list[tuple[int, int]]) -> None:
        for fd, revents in ready:
            if fd == self.listener.fileno():
                self.accept()
                continue
            client = self.clients[fd]
            if revents & (select.POLLERR | select.POLLHUP):
                self.hang_up(client)
            elif revents & select.POLLIN:
                self.receive(client, self.options.queue_bytes // len(ready))
            if revents & select.POLLOUT and client.queue:  # no elif: who always speaks must be sent to as well
                self.send(client)
        self.relay()
        self.do_what_is_due()
        self.hold_or_release_senders()

    def milliseconds_to_wait(self) -> int | None:
        if not self.due:
            return None
        seconds = min(self.due.values()) - time.monotonic()
        return math.ceil(max(0, min(seconds, LONGEST_WAIT_SECONDS)) * 1000)

    def set_timer(self, seconds: float, action: Callable, who: object) -> None:
        self.due[action, who] = time.monotonic() + seconds

    def do_what_is_due(self) -> None:
        now = time.monotonic()
        for (action, who), when in list(self.due.items()):
            if when <= now and self.due.pop((action, who), None):
                action(who)

    def watch(self, client: Client) -> None:
        """Ask poll for what can be used now. Anything else it would report for ever, and never sleep."""
        reads = not self.senders_wait if client.speaks else not client.hears
        events = (select.POLLIN if reads else 0) | (select.POLLOUT if client.queue else 0)
        if client.speaks and not client.hears and not reads:
            events = None  # broken: its ERR and HUP come unasked, so poll hears of it when senders need not wait
        if events is None and client.events is not None:
            self.poller.unregister(client.fd)
        elif events != client.events:
            self.poller.register(client.fd, events)
        client.events = events

    # Newcomers.

    def accept(self) -> None:
        """Accept until EAGAIN, so that all who are here hear this turn's lines."""
        while True:
            try:
                sock, (host, port) = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in NO_DESCRIPTOR:
                    self.rest(error)
                    return
                continue  # ECONNABORTED and the like: this one has gone, others may wait
            self.welcome(Client(sock, f"{host}:{port}"))

    def welcome(self, client: Client) -> None:
        set_nonblocking(client.fd)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a line does not wait for the last one's ACK
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        room_is_full = len(self.clients) - len(self.dismissed) >= self.options.max_clients
        self.clients[client.fd] = client
        self.watch(client)
        if room_is_full:
            self.dismiss(client, f"this room is full ({self.options.max_clients} clients), try again later")

    def rest(self, error: OSError) -> None:
        """Ask no more for newcomers: while they wait the listener is readable, and poll would not sleep."""
        log(f"accept: {error.strerror}: newcomers must wait")
        self.poller.modify(self.listener, 0)
        self.set_timer(REST_SECONDS, self.listen_again, self.listener)

    def listen_again(self, listener: socket.socket) -> None:
        self.poller.modify(listener, select.POLLIN)

    # What clients say.

    def receive(self, client: Client, share: int) -> None:
        """Read once. `share` in bytes: all who speak in a turn say about as much as one queue holds."""
        try:
            data = client.sock.recv(min(max(share, LEAST_BYTES), MOST_BYTES))
        except BlockingIOError:
            return
        except OSError:  # ECONNRESET and the like come when all that had arrived has been read
            self.remove(client)
            return
        if not data:
            self.end_of_input(client)
        elif client.speaks:
            self.gather(client, data)

    def gather(self, client: Client, data: bytes) -> None:
        """Put whole lines aside for the others, and keep the beginning of the next."""
        end = data.rfind(b"\n") + 1
        first_line = len(client.partial) + (data.find(b"\n") + 1 if end else len(data) + 1)
        if first_line > LINE_BYTES:
            self.dismiss(client, f"a line has at most {LINE_BYTES} bytes, its newline included")
            return
        if end:
            self.said[client] = bytes(client.partial) + data[:end]
            client.partial.clear()
        client.partial += data[end:]

    def end_of_input(self, client: Client) -> None:
        """FIN: it says no more, and may still hear. Who cannot be sent to either is gone, with half a line unsaid."""
        if not client.hears:
            self.remove(client)
            return
        if client.partial:
            self.said[client] = bytes(client.partial) + b"\n"
        client.speaks = False
        self.set_timer(self.options.half_close_seconds, self.remove, client)
        self.watch(client)

    def hang_up(self, client: Client) -> None:
        """The connection is broken. What had arrived before can still be read, when senders need not wait."""
        self.stop_sending(client)
        if client.speaks and not self.senders_wait:
            self.receive(client, MOST_BYTES)

    # What clients hear.

    def relay(self) -> None:
        """Send this turn's lines to everyone else: views of one block, so that there is no copy for each client."""
        if not self.said:
            return
        block, own, end = memoryview(b"".join(self.said.values())), {}, 0
        for client, lines in self.said.items():
            own[client] = end, end + len(lines)
            end += len(lines)
        self.said = {}
        for client in [each for each in self.clients.values() if each.hears]:
            if client in own:
                start, end = own[client]
                self.enqueue(client, *filter(len, (block[:start], block[end:])))
            else:
                self.enqueue(client, block)

    def enqueue(self, client: Client, *parts: memoryview) -> None:
        for part in parts:
            client.queued += len(part)
        if client.queue:
            for part in parts:
                self.keep(client, part)
            self.judge_reader(client, 0)
        elif parts:
            client.queue = list(parts)
            self.send(client)

    def keep(self, client: Client, part: memoryview) -> None:
        """Put a part into the queue of one that waits. A view holds its whole block in memory, so copy a small one."""
        if len(part) * 4 >= max(len(part.obj), SMALL_BYTES):
            client.queue.append(part)
        elif isinstance(client.queue[-1], bytearray) and len(client.queue[-1]) < MOST_BYTES:
            client.queue[-1] += part
        else:
            client.queue.append(bytearray(part))

    def send(self, client: Client) -> None:
        """Send once, as much as the kernel takes; POLLOUT tells when it takes more."""
        try:
            sent = client.sock.sendmsg(client.queue[:IOV_MAX])
        except BlockingIOError:
            sent = 0
        except OSError:  # EPIPE, ECONNRESET
            self.stop_sending(client)
            return
        if sent < client.queued:
            self.take_from_queue(client, sent)
            self.judge_reader(client, sent)
        else:
            client.queue, client.queued, client.slow = [], 0, False
            self.full.discard(client)
        self.watch(client)
        if not client.hears and not client.queue:
            with contextlib.suppress(OSError):  # ENOTCONN: it was faster, as poll will tell
                client.sock.shutdown(socket.SHUT_WR)

    def take_from_queue(self, client: Client, sent: int) -> None:
        client.queued -= sent
        whole = 0
        while whole < len(client.queue) and sent >= len(client.queue[whole]):
            sent -= len(client.queue[whole])
            whole += 1
        del client.queue[:whole]
        if sent:
            client.queue[0] = memoryview(client.queue[0])[sent:]

    def judge_reader(self, client: Client, sent: int) -> None:
        """A queue is full from `--queue-bytes` on, until three quarters are left; taking something gives more time."""
        was_full = client in self.full
        client.slow = client.queued > 0 and (client.slow or (was_full and sent > 0))
        if client.queued <= self.options.queue_bytes * 3 // 4:
            self.full.discard(client)
        elif was_full or client.queued >= self.options.queue_bytes:
            self.full.add(client)
            if sent or not was_full:
                self.set_timer(self.options.stall_seconds * (SLOW_READER if client.slow else 1), self.evict, client)

    def hold_or_release_senders(self) -> None:
        if self.senders_wait != bool(self.full):
            self.senders_wait = bool(self.full)
            for client in self.clients.values():
                self.watch(client)

    # How clients leave.

    def stop_sending(self, client: Client) -> None:
        """Nothing reaches it any more. Who does not speak either is gone."""
        if not client.speaks:
            self.remove(client)
            return
        client.hears = False
        client.queue, client.queued = [], 0
        self.full.discard(client)
        self.watch(client)

    def dismiss(self, client: Client, notice: str) -> None:
        """Out of the room, with a word. It is read on for a while: a close over unread bytes may destroy the notice."""
        log(f"{client.name}: {notice}")
        client.speaks = client.hears = False
        client.partial.clear()
        self.dismissed.add(client)
        self.set_timer(LINGER_SECONDS, self.remove, client)
        self.watch(client)
        self.enqueue(client, memoryview(f"* {notice}\n".encode()))

    def evict(self, client: Client) -> None:
        if client in self.full:
            log(f"{client.name}: evicted: {client.queued} bytes wait for it, and it takes nothing")
            self.remove(client)

    def remove(self, client: Client) -> None:
        if client.events is not None:
            self.poller.unregister(client.fd)
        if client.queue:  # so that it learns that something is missing
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        client.sock.close()
        client.speaks, client.queue = False, []
        del self.clients[client.fd]
        self.dismissed.discard(client)
        self.full.discard(client)
        self.due.pop((self.evict, client), None)
        self.due.pop((self.remove, client), None)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description="A chat server in one process: poll, and a bounded queue for each client.")
    parser.add_argument("--host", default="127.0.0.1", help="IPv4 address or name to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=9999, help="TCP port; 0: the kernel chooses (default %(default)s)")
    parser.add_argument("--max-clients", type=int, help="clients at a time (default: what the descriptor limit allows)")
    parser.add_argument("--queue-bytes", type=int, default=2**20, help="a queue is full then (default %(default)s)")
    parser.add_argument("--stall-seconds", type=float, default=1.0, help="with a full queue (default %(default)s)")
    parser.add_argument("--half-close-seconds", type=float, default=30.0, help="after a FIN (default %(default)s)")
    options = parser.parse_args()
    if not 0 <= options.port <= 65535:
        parser.error(f"--port is {options.port}, but a port is between 0 and 65535")
    for name in ("max_clients", "queue_bytes", "stall_seconds", "half_close_seconds"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            parser.error(f"--{name.replace('_', '-')} is {value}, but must be greater than 0")
    return options


def allow_descriptors(max_clients: int | None) -> int:
    """Raise the limit of open descriptors as far as it goes, getrlimit(2). Returns how many clients there may be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard - OTHER_DESCRIPTORS < (max_clients or 1):
        sys.exit(f"poll_server: {max_clients or 1} clients need more descriptors than the {hard} that are allowed")
    return max_clients or hard - OTHER_DESCRIPTORS


def main(server_class: type[PollServer] = PollServer) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    options = parse_arguments()
    options.max_clients = allow_descriptors(options.max_clients)
    try:
        listener = server_class.open_listener(options.host, options.port)
    except OSError as error:
        sys.exit(f"poll_server: cannot listen on {options.host}:{options.port}: {error.strerror}")
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    server_class(listener, options).serve()


def run_program(main: Callable[[], object]) -> None:
    """Run a program, and end it with status 1 when standard output takes nothing more: write(2), section ERRORS.

    A reader that has gone (EPIPE) needs no words. Anything else, such as a full disk, is told in one line.
    """
    if sys.stdout is None:
        sys.exit(f"{os.path.basename(sys.argv[0])}: standard output is closed")
    try:
        try:
            main()
        finally:
            sys.stdout.flush()  # the interpreter would do it after the last `except`
    except OSError as error:
        if error.errno != errno.EPIPE:
            log(f"{os.path.basename(sys.argv[0])}: cannot go on: {error.strerror}")
        os._exit(1)  # an ordinary exit would flush again, and fail again


if __name__ == "__main__":
    run_program(main)

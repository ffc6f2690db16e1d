"""Lab 04, the poll server: the exercises solved. The tasks stand in labs/04_poll_server/exercises.py."""

import argparse
import contextlib
import errno
import itertools
import math
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections import deque

MAX_LINE_BYTES = 65536  # the longest line of the chat, its newline included
IOV_MAX = 1024  # the most buffers that one sendmsg takes: sysconf(3), _SC_IOV_MAX
OTHER_DESCRIPTORS = 32  # standard streams, the listener, newcomers that are turned away, and some to spare
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RECEIVE_BYTES = 65536
SMALL_BYTES = 16384
UNSENT_BYTES = 65536  # tcp_notsent_lowat in Linux's ip-sysctl
MOST_MILLISECONDS = 2**31 - 1  # poll takes a C int
LINGER_SECONDS = 2.0
REST_SECONDS = 1.0
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # struct linger: what is unsent is thrown away, not tried for minutes


class LineTooLong(ValueError):
    """Somebody's line is longer than allowed. `lines`: the whole lines that came before it, still to be delivered."""

    def __init__(self, lines):
        super().__init__("a line that is too long")
        self.lines = lines


# 4.1

READY = 1  # the listener; poll does not say how many wait at it
IDLE_WAKE_UPS = 20  # a connection can nearly always be written to, so POLLOUT is nearly always there
ARRIVED = 6  # lines 0 to 3 met a full buffer and are gone, though the connection loses nothing
WAKE_UPS_AT_THE_LIMIT = 7  # a failed accept takes nobody out of the backlog, so the listener stays readable


# 4.2


class LineReader:
    def __init__(self, limit=MAX_LINE_BYTES):
        self.limit = limit
        self.partial = bytearray()

    def feed(self, chunk):
        *ends, rest = chunk.split(b"\n")
        lines = []
        for end in ends:
            self.extend(end, lines)
            lines.append(bytes(self.partial) + b"\n")
            self.partial.clear()
        self.extend(rest, lines)
        return lines

    def extend(self, piece, lines):
        self.partial += piece
        if len(self.partial) >= self.limit:
            raise LineTooLong(lines)

    def finish(self):
        line = bytes(self.partial) + b"\n" if self.partial else b""
        self.partial.clear()
        return line

    def drop(self):
        dropped = len(self.partial)
        self.partial.clear()
        return dropped


# 4.3


class OutputQueue:
    def __init__(self):
        self.buffers = deque()
        self.bytes = 0

    def push(self, buffer):
        if buffer:
            self.buffers.append(buffer)
            self.bytes += len(buffer)

    def push_copy(self, buffer):
        """Put a copy at the end, together with the copies before it. Not asked for in 4.3: it is for small ones."""
        last = self.buffers[-1] if self.buffers else None
        if isinstance(last, bytearray) and len(last) < SMALL_BYTES:
            last += buffer
            self.bytes += len(buffer)
        else:
            self.push(bytearray(buffer))

    def pending(self):
        return self.bytes

    def events(self):
        return select.POLLOUT if self.bytes else 0

    def flush(self, sock):
        before = self.bytes
        while self.buffers:
            batch = list(itertools.islice(self.buffers, IOV_MAX))
            try:
                taken = sock.sendmsg(batch)
            except BlockingIOError:
                break
            self.forget(taken)
            if taken < sum(map(len, batch)):
                break
        return before - self.bytes

    def forget(self, taken):
        self.bytes -= taken
        while taken:
            buffer = self.buffers.popleft()
            if taken < len(buffer):
                self.buffers.appendleft(memoryview(buffer)[taken:])
                return
            taken -= len(buffer)


# 4.4


def accept_all(listener):
    connections = []
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return connections, True
        except ConnectionAbortedError:
            continue
        except OSError as error:
            if error.errno in NO_DESCRIPTOR:
                return connections, False
            raise
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        connections.append(connection)


# 4.5


class BackPressure:
    def __init__(self, limit, stall_seconds):
        self.limit, self.stall_seconds = limit, stall_seconds
        self.full = {}  # client: (bytes that were pending last, when they last became fewer)

    def update(self, client, pending, now):
        if pending <= self.limit * 3 / 4:
            self.full.pop(client, None)
        elif client in self.full:
            before, since = self.full[client]
            self.full[client] = (pending, now if pending < before else since)
        elif pending >= self.limit:
            self.full[client] = (pending, now)

    def left(self, client):
        self.full.pop(client, None)

    def senders_wait(self):
        return bool(self.full)

    def stalled(self, now):
        return [client for client, (_, since) in self.full.items() if now - since >= self.stall_seconds]

    def wait_seconds(self, now):
        if not self.full:
            return None
        return max(0.0, min(since for _, since in self.full.values()) + self.stall_seconds - now)


# 4.6


def share_out(turn, clients):
    whole = memoryview(b"".join(data for _, data in turn))
    spans, start = {}, 0
    for sender, data in turn:
        spans.setdefault(sender, []).append((start, start + len(data)))
        start += len(data)
    shares = {client: without(whole, spans.get(client, ())) for client in clients}
    return {client: share for client, share in shares.items() if share}


def without(whole, spans):
    """Views of a memoryview around these spans of it."""
    starts = [0, *(end for _, end in spans)]
    ends = [*(start for start, _ in spans), len(whole)]
    return [whole[start:end] for start, end in zip(starts, ends, strict=True) if start < end]


# 4.7


class Client:
    """One connection, and how far it has come on its way out of the room."""

    def __init__(self, sock):
        self.sock, self.fd = sock, sock.fileno()
        self.reader, self.queue = LineReader(), OutputQueue()
        # Else poll says POLLOUT only when a third of megabytes is free again, and a slow reader looks like a dead one.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self.watched = None  # what poll watches for it; None: it is not registered
        self.heard_out = False  # its FIN has been read
        self.cut_off = False  # a send has failed: it is read to its end, and then gone
        self.dismissed = False  # it has a notice, and is waited for to close


class Room:
    """The server of 4.7: `members` are sent to, `clients` are those and the ones on their way out."""

    def __init__(self, listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
        self.listener, self.max_clients, self.half_close_seconds = listener, max_clients, half_close_seconds
        self.pressure = BackPressure(queue_bytes, stall_seconds)
        self.clients = {}  # by descriptor
        self.members = set()
        self.deadlines = {}  # client: when its connection is closed, whatever it does
        self.rest_until = None  # while set, the listener is not polled
        self.quiet = False  # senders wait
        self.poller = select.poll()
        listener.setblocking(False)
        self.poller.register(listener, select.POLLIN)

    def turn(self):
        ready = dict(self.poller.poll(self.poll_milliseconds()))
        newcomers = self.welcome() if ready.pop(self.listener.fileno(), None) else []
        events = {self.clients[fd]: seen for fd, seen in ready.items()}
        turn = [(client, data) for client in self.talking(events) if (data := self.read(client))]
        shares = share_out(turn, list(self.members)) if turn else {}
        for client, share in shares.items():
            for view in share:
                self.enqueue(client, view)
        for client in events.keys() | shares.keys():
            self.flush(client)
        self.end_overdue()
        self.watch_changed({*newcomers, *events, *shares})

    def talking(self, events):
        return [client for client, seen in events.items() if seen & ~select.POLLOUT]

    def poll_milliseconds(self):
        now = time.monotonic()
        waits = [end - now for end in (*self.deadlines.values(), self.rest_until) if end is not None]
        stall = self.pressure.wait_seconds(now)
        if stall is not None:
            waits.append(stall)
        return min(math.ceil(max(0.0, min(waits)) * 1000), MOST_MILLISECONDS) if waits else None

    # coming

    def welcome(self):
        """Let in whoever waits at the listener. Returns the new clients."""
        connections, watch = accept_all(self.listener)
        newcomers = [Client(sock) for sock in connections]
        for client in newcomers:
            self.clients[client.fd] = client
            if len(self.members) < self.max_clients:
                self.members.add(client)
            else:
                self.dismiss(client, b"* the room is full\n")
        if not watch:
            self.poller.unregister(self.listener)
            self.rest_until = time.monotonic() + REST_SECONDS
        return newcomers

    def wake_listener(self):
        if self.rest_until is not None:
            self.rest_until = None
            self.poller.register(self.listener, select.POLLIN)

    # saying

    def read(self, client):
        """Read once. Returns the whole lines that the room is to be told."""
        try:
            chunk = client.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            self.close(client)
            return b""
        if not chunk:
            return self.hear_end(client)
        if client.dismissed:
            return b""
        try:
            return b"".join(client.reader.feed(chunk))
        except LineTooLong as error:
            self.dismiss(client, b"* your line is too long\n")
            return b"".join(error.lines)

    def hear_end(self, client):
        if client.heard_out or client.cut_off or not client.queue.pending() and client.dismissed:
            self.close(client)
            return b""
        client.heard_out = True
        if client.dismissed:
            return b""
        self.deadlines[client] = time.monotonic() + self.half_close_seconds
        return client.reader.finish()

    # being told

    def enqueue(self, client, view):
        """A view keeps its whole block in memory, and is an object itself: of those that have to wait, small ones are
        copied."""
        if client.queue.pending() and len(view) * 4 < max(len(memoryview(view).obj), SMALL_BYTES):
            client.queue.push_copy(view)
        else:
            client.queue.push(view)

    def flush(self, client):
        if not client.queue.pending():
            return
        try:
            client.queue.flush(client.sock)
        except OSError:
            self.cut_off(client)
            return
        if client in self.members:
            self.pressure.update(client, client.queue.pending(), time.monotonic())
        if client.dismissed and not client.queue.pending():
            self.finish_dismissal(client)

    # leaving

    def cut_off(self, client):
        """Nothing can be sent any more. What it has said before is still there to be read."""
        self.leave_room(client)
        client.queue = OutputQueue()
        client.cut_off = True
        if client.heard_out or client.dismissed:
            self.close(client)

    def dismiss(self, client, notice):
        self.leave_room(client)
        client.dismissed = True
        client.reader.drop()
        self.deadlines[client] = time.monotonic() + LINGER_SECONDS
        client.queue.push(notice)
        self.flush(client)

    def finish_dismissal(self, client):
        try:
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:  # reset meanwhile
            client.heard_out = True
        if client.heard_out:
            self.close(client)

    def end_overdue(self):
        now = time.monotonic()
        for client in [client for client, end in self.deadlines.items() if end <= now]:
            self.close(client)
        for client in self.pressure.stalled(now):
            self.evict(client)
        if self.rest_until is not None and self.rest_until <= now:
            self.wake_listener()

    def evict(self, client):
        with contextlib.suppress(OSError):  # nobody reads the log any more: no reason to end the room
            os.write(2, b"evicted descriptor %d: it does not read\n" % client.fd)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        self.close(client)

    def leave_room(self, client):
        self.members.discard(client)
        self.pressure.left(client)

    def close(self, client):
        self.leave_room(client)
        self.deadlines.pop(client, None)
        if client.watched is not None:
            self.poller.unregister(client.sock)
        del self.clients[client.fd]
        client.sock.close()
        self.wake_listener()

    # watching

    def watch_changed(self, touched):
        """Tell poll what has changed: for the clients of this turn, or for all when senders must wait, or no more."""
        quiet = self.pressure.senders_wait()
        clients = self.clients.values() if quiet != self.quiet else touched
        self.quiet = quiet
        for client in clients:
            wanted = self.wanted(client, quiet)
            if wanted != client.watched and client.fd in self.clients:
                self.watch(client, wanted)

    def wanted(self, client, quiet):
        """The events to poll for. None: not even those that poll reports unasked, since nobody may act on them yet."""
        reads = client.dismissed or not quiet
        if client.heard_out:
            return client.queue.events()
        if not reads and not client.queue.pending():
            return None
        return client.queue.events() | (select.POLLIN if reads else 0)

    def watch(self, client, wanted):
        if wanted is None:
            self.poller.unregister(client.sock)
        else:
            self.poller.register(client.sock, wanted)
        client.watched = wanted


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = Room(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def parse_arguments():
    """The command line of the course's servers."""
    parser = Parser(description="A chat server of my own.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
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


def main():
    """Listen, say so, and serve until SIGINT or SIGTERM comes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    options = parse_arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    allowed = hard - OTHER_DESCRIPTORS
    if allowed < (options.max_clients or 1):
        sys.exit(f"exercises.py: {options.max_clients or 1} clients need more than the {hard} descriptors there may be")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)  # a restart may find old connections in TIME_WAIT
    try:
        listener.bind((options.host, options.port))
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        sys.exit(f"exercises.py: cannot listen on {options.host}:{options.port}: {error.strerror}")
    try:
        os.write(1, "listening on {}:{}\n".format(*listener.getsockname()).encode())
    except OSError as error:
        sys.exit(f"exercises.py: cannot write to standard output: {error.strerror}")
    limits = (options.max_clients or allowed, options.queue_bytes, options.stall_seconds, options.half_close_seconds)
    try:
        serve(listener, *limits)
    except NotImplementedError as error:
        sys.exit(f"exercises.py: {error}")


if __name__ == "__main__":
    main()

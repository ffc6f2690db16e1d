"""Lab 05, epoll, fork and shared memory: exercises solved. The tasks stand in labs/05_epoll_fork_shm/exercises.py."""

import argparse
import contextlib
import errno
import mmap
import os
import resource
import select
import signal
import socket
import sys

MAX_LINE_BYTES = 65536  # the longest line of the chat, its newline included
OTHER_DESCRIPTORS = 32  # standard streams, the listener, newcomers on their way to a child, and some to spare
MOST_CLIENTS = 2000  # more would need more than a gigabyte of shared memory
RECEIVE_BYTES = 4096
LINE_WORDS = 8  # a cache line has 64 bytes; a word has 8
HEAD_BYTES = 128  # of a ring: the writer's cache line, and the reader's

# 5.1


class EpollPoller:
    def __init__(self):
        self.epoll = select.epoll()
        self.known = set()
        self.files = {}  # those that epoll refuses, since they are always ready: what they were asked for

    def register(self, fd, events):
        fd = number_of(fd)
        self.files.pop(fd, None)
        try:
            self.epoll.register(fd, events)
        except FileExistsError:
            self.epoll.modify(fd, events)
        except PermissionError:
            self.files[fd] = events & (select.POLLIN | select.POLLOUT)
        self.known.add(fd)

    def unregister(self, fd):
        fd = number_of(fd)
        self.known.remove(fd)
        if self.files.pop(fd, None) is not None:
            return
        try:
            self.epoll.unregister(fd)
        except OSError as error:
            # Closed, and perhaps another file by now: then the kernel has forgotten it already.
            if error.errno not in (errno.EBADF, errno.ENOENT, errno.EPERM):
                raise

    def poll(self, timeout=None):
        ready = [(fd, events) for fd, events in self.files.items() if events]
        if ready:
            return ready + self.epoll.poll(0)
        return self.epoll.poll(-1 if timeout is None or timeout < 0 else timeout / 1000)

    def close(self):
        self.epoll.close()


def number_of(fd):
    """The descriptor's number: of an int, or of an object with fileno()."""
    return fd if isinstance(fd, int) else fd.fileno()


# 5.2


def collect(socks):
    heard = [[] for _ in socks]
    places = {sock.fileno(): place for place, sock in enumerate(socks)}
    with select.epoll() as epoll:
        for sock in socks:
            sock.setblocking(False)
            epoll.register(sock, select.EPOLLIN | select.EPOLLET)
        while places:
            for fd, _ in epoll.poll():
                if drain(socks[places[fd]], heard[places[fd]]):
                    epoll.unregister(fd)
                    del places[fd]
    return [b"".join(pieces) for pieces in heard]


def drain(sock, pieces):
    """Receive until nothing is left for now (False), or for ever (True)."""
    while True:
        try:
            piece = sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        if not piece:
            return True
        pieces.append(piece)


# 5.3

SCHEDULE = ["A says", "freeze B", "A says", "A says", "thaw B"]  # B's child reads the slot when line 3 is in it
B_RECEIVES = [1, 3, 3]  # as many as there were bells, so what is lost is made up by what comes twice


# 5.4


class Tally:
    def __init__(self, writers):
        self.memory = mmap.mmap(-1, writers * LINE_WORDS * 8)
        self.words = memoryview(self.memory).cast("Q")

    def add(self, writer, amount=1):
        self.words[writer * LINE_WORDS] += amount

    def total(self):
        return sum(self.words[::LINE_WORDS])


# 5.5


class Ring:
    def __init__(self, memory):
        self.words = memory[:HEAD_BYTES].cast("Q")
        self.ring = memory[HEAD_BYTES:]
        self.size = len(self.ring)

    WRITTEN, READ = 0, LINE_WORDS  # where the positions are, in words

    def write(self, data):
        data = memoryview(data).cast("B")
        written = self.words[self.WRITTEN]
        count = min(len(data), self.size - (written - self.words[self.READ]))
        place = written % self.size
        first = min(count, self.size - place)
        self.ring[place : place + first] = data[:first]
        self.ring[: count - first] = data[first:count]
        self.words[self.WRITTEN] = written + count
        return count

    def read(self, limit):
        read = self.words[self.READ]
        count = min(limit, self.words[self.WRITTEN] - read)
        place = read % self.size
        first = min(count, self.size - place)
        data = bytes(self.ring[place : place + first]) + bytes(self.ring[: count - first])
        self.words[self.READ] = read + count
        return data


# 5.6

WORD_BYTES = 8


class Cells:
    def __init__(self, memory, count, size):
        self.count = count
        self.bytes = memoryview(memory)
        self.words = self.bytes.cast("Q")
        self.cell_bytes = 3 * WORD_BYTES + size
        self.size = size

    def places(self, number):
        """The indices of BEGIN, LENGTH and END among the words, and the view of the bytes between them."""
        start = number % self.count * self.cell_bytes
        begin, end = start // WORD_BYTES, (start + self.cell_bytes) // WORD_BYTES - 1
        first = start + 2 * WORD_BYTES
        return begin, begin + 1, end, self.bytes[first : first + self.size]

    def write(self, number, fill):
        begin, length, end, view = self.places(number)
        self.words[begin] = number
        self.words[length] = count = fill(view)
        self.words[end] = number
        return count

    def read(self, number, use):
        begin, length, end, view = self.places(number)
        if self.words[begin] < number:
            return "early", None
        if self.words[begin] > number:
            return "overrun", None
        if self.words[end] != number:
            return "torn", None
        result = use(view[: self.words[length]])
        if self.words[begin] != number:
            return "overrun", None
        return "good", result


# 5.7


class StaleHandle(LookupError):
    """A handle of somebody who has left, or of nobody: it must not be used."""


class Slots:
    def __init__(self, words):
        self.words = words

    def allocate(self):
        for slot, generation in enumerate(self.words):
            if generation % 2 == 0:
                self.words[slot] = generation + 1
                return (generation + 1) * len(self.words) + slot
        return None

    def free(self, handle):
        if not self.is_current(handle):
            raise StaleHandle(f"nobody has a slot by handle {handle}")
        self.words[handle % len(self.words)] += 1

    def is_current(self, handle):
        generation, slot = divmod(handle, len(self.words))
        return generation % 2 == 1 and self.words[slot] == generation


# 5.8


def become_child(poller, connections, keep):
    poller.close()
    for sock in connections:
        if sock not in keep:
            sock.close()
    kept = {0, 1, 2, *(sock.fileno() for sock in keep)}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in kept:
            with contextlib.suppress(OSError):  # EBADF: by this one the list itself was read
                os.close(number)


# 5.9

RINGS_AT_ONCE = 4096  # more than a socketpair holds


class Doorbell:
    def __init__(self, sock):
        self.sock = sock
        sock.setblocking(False)

    def fileno(self):
        return self.sock.fileno()

    def ring(self):
        try:
            self.sock.send(b".")
        except BlockingIOError:
            pass
        except OSError:  # EPIPE, ECONNRESET
            return False
        return True

    def hear(self, look):
        try:
            rings = self.sock.recv(RINGS_AT_ONCE)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            rings = b""
        look()
        return bool(rings)

    def attend(self, look):
        with select.epoll() as poller:
            poller.register(self, select.EPOLLIN)
            while self.hear(look):
                poller.poll()


# 5.10

RING_BYTES = 65536


def shared_memory(size):
    """Memory that every process forked from now on has too: it has no name, and goes with the last of them."""
    return memoryview(mmap.mmap(-1, size))


def nothing_more():
    """Who hears a bell here looks for herself, when all bells of the turn are heard."""


class Child:
    """A client's process, as the parent knows it. said, heard: its two rings, the parent reads and writes them."""

    def __init__(self, pid, handle, bell, said, heard):
        self.pid, self.handle, self.bell, self.said, self.heard = pid, handle, bell, said, heard
        self.text = b""  # a line that has no end yet
        self.pending = b""  # what the ring `heard` had no room for
        self.here = True

    def lines(self):
        """All whole lines that it has said since."""
        data = self.said.read(RING_BYTES)
        if data:
            self.bell.ring()  # there is room again
        self.text += data
        whole = self.text.rfind(b"\n") + 1
        lines, self.text = self.text[:whole], self.text[whole:]
        return lines

    def give(self, lines):
        """Let it hear these. False: its ring is full, so others must wait."""
        self.pending += lines if self.here else b""
        return self.flush()

    def flush(self):
        taken = self.heard.write(self.pending)
        if taken:
            self.pending = self.pending[taken:]
            self.bell.ring()
        return not self.pending


class ForkRoom:
    """The parent: it accepts, forks, and carries lines from ring to ring."""

    def __init__(self, listener, max_clients):
        self.listener = listener
        self.poller = EpollPoller()
        self.slots = Slots(shared_memory(8 * max_clients).cast("Q"))
        ring_bytes = HEAD_BYTES + RING_BYTES
        memory = shared_memory(2 * max_clients * ring_bytes)
        self.rings = [Ring(memory[n * ring_bytes : (n + 1) * ring_bytes]) for n in range(2 * max_clients)]
        self.children = {}  # by descriptor of the doorbell
        listener.setblocking(False)
        self.poller.register(listener, select.EPOLLIN)

    def turn(self):
        ready = dict(self.poller.poll())
        if ready.pop(self.listener.fileno(), 0):
            self.welcome()
        for child in [self.children[fd] for fd in ready]:
            if not child.bell.hear(nothing_more):
                self.poller.unregister(child.bell)
                child.here, child.pending = False, b""
        self.relay()

    def welcome(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # EAGAIN: nobody waits any more
                return
            handle = self.slots.allocate()
            if handle is not None:
                self.start(client, handle)
            client.close()

    def start(self, client, handle):
        mine, its = socket.socketpair()
        slot = handle % len(self.slots.words)
        said, heard = self.rings[2 * slot : 2 * slot + 2]
        pid = os.fork()
        if pid == 0:
            try:
                bells = [child.bell.sock for child in self.children.values()]
                become_child(self.poller, [self.listener, mine, *bells], [client, its])
                ClientProcess(client, Doorbell(its), said, heard).serve()
            except Exception:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(0)
        its.close()
        self.children[mine.fileno()] = child = Child(pid, handle, Doorbell(mine), said, heard)
        self.poller.register(child.bell, select.EPOLLIN)

    def relay(self):
        """Look into all rings; but while somebody has not got all of what was said before, nothing more is read."""
        full = sum(not child.flush() for child in self.children.values())
        for child in list(self.children.values()):
            if full:
                return  # whoever makes room in a full ring rings, and then all are looked into
            lines = child.lines()
            if lines:
                self.welcome()  # who had connected before this was said shall hear it
                full = sum(not other.give(lines) for other in self.children.values() if other is not child)
            if not child.here:
                self.bury(child)

    def bury(self, child):
        """It has ended, and all that it had said is given to the others: its slot can be another one's."""
        os.waitpid(child.pid, 0)
        child.heard.read(RING_BYTES)
        del self.children[child.bell.fileno()]
        child.bell.sock.close()
        self.slots.free(child.handle)


class ClientProcess:
    """A child: one client, a ring to the parent and one from it."""

    def __init__(self, client, bell, said, heard):
        self.client, self.bell, self.said, self.heard = client, bell, said, heard
        self.unsaid = self.unsent = b""  # on its way into the ring; on its way to the client
        self.unfinished = 0  # bytes of a line that has no end yet
        self.speaks = self.hears = True
        self.events = 0
        self.poller = EpollPoller()
        self.poller.register(bell, select.EPOLLIN)
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def serve(self):
        while self.speaks or self.unsaid:
            self.watch()
            ready = dict(self.poller.poll())
            if self.bell.fileno() in ready and not self.bell.hear(nothing_more):
                return
            if ready.get(self.client.fileno(), 0) & ~select.EPOLLOUT and self.speaks and not self.unsaid:
                self.receive()
            self.say()
            self.send()

    def watch(self):
        """Whoever waits for the parent must not be told of the client: its HUP and ERR come unasked, and for ever."""
        events = (select.EPOLLIN if self.speaks and not self.unsaid else 0) | (select.EPOLLOUT if self.unsent else 0)
        if events != self.events:
            if events:
                self.poller.register(self.client, events)
            else:
                self.poller.unregister(self.client)
            self.events = events

    def receive(self):
        try:
            data = self.client.recv(RING_BYTES)
        except BlockingIOError:
            return
        except OSError:  # reset: whatever has no end is dropped
            self.speaks = False
            return
        if not data:
            self.speaks = False  # no FIN when a send has failed: that took the reset's error away
            self.unsaid = b"\n" if self.unfinished and self.hears else b""
            return
        last = data.rfind(b"\n")
        self.unfinished = len(data) - 1 - last + (self.unfinished if last < 0 else 0)
        if self.unfinished >= MAX_LINE_BYTES:
            self.speaks = False
        self.unsaid = data

    def say(self):
        taken = self.said.write(self.unsaid)
        if taken:
            self.unsaid = self.unsaid[taken:]
            self.bell.ring()

    def send(self):
        while self.unsent or self.fetch():
            try:
                self.unsent = self.unsent[self.client.send(self.unsent) :] if self.hears else b""
            except BlockingIOError:
                return
            except OSError:  # EPIPE, ECONNRESET: what it has said before can still be read
                self.hears = False

    def fetch(self):
        self.unsent = self.heard.read(RING_BYTES)
        if self.unsent:
            self.bell.ring()  # there is room again
        return self.unsent


def serve(listener, max_clients):
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def parse_arguments():
    """The command line, as far as this server has the options of the course's others."""
    parser = Parser(description="A chat server of my own, with a process for each client.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=9999, help="TCP port; 0: the kernel chooses (default %(default)s)")
    parser.add_argument("--max-clients", type=int, default=400, help="clients at a time (default %(default)s)")
    options = parser.parse_args()
    if not 0 <= options.port <= 65535:
        parser.error(f"--port is {options.port}, but a port is between 0 and 65535")
    if not 0 < options.max_clients <= MOST_CLIENTS:
        parser.error(f"--max-clients is {options.max_clients}, but must be between 1 and {MOST_CLIENTS}")
    return options


def main():
    """Listen, say so, and serve until SIGINT or SIGTERM comes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    options = parse_arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < options.max_clients + OTHER_DESCRIPTORS:
        sys.exit(f"exercises.py: {options.max_clients} clients need more than the {hard} descriptors there may be")
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
    try:
        serve(listener, options.max_clients)
    except NotImplementedError as error:
        sys.exit(f"exercises.py: {error}")


if __name__ == "__main__":
    main()

"""Lab 05, epoll, fork and shared memory: exercises solved. The tasks stand in labs/05_epoll_fork_shm/exercises.py."""

import contextlib
import errno
import mmap
import os
import select

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


def serve(listener, max_clients):
    raise NotImplementedError("exercise 5.10 is not started")

"""Lab 02, socketpair: the exercises solved. The tasks stand in labs/02_socketpair/exercises.py."""

import array
import contextlib
import fcntl
import os
import select
import socket
import struct
import traceback

MAX_FRAME_BYTES = 65536
PREFIX = struct.Struct("!I")


class EndedEarly(EOFError):
    """End of file came before all that was wanted: how many bytes came, and how many should have."""

    def __init__(self, received, wanted):
        super().__init__(f"end of file after {received} of {wanted} bytes")


class FrameTooLong(ValueError):
    """A length prefix asks for more bytes than the limit."""


class NoConnection(Exception):
    """A message came that does not bring exactly one descriptor."""


def leave_after(task):
    """Run task() and end this process, a child: with the status that task returns (None: 0), or 1 when it raises."""
    status = 1
    try:
        status = task() or 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def read_to_end(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


def reap(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# 2.1


def ask_child(transform, question):
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        leave_after(lambda: theirs.sendall(transform(read_to_end(theirs))))
    theirs.close()
    with ours:
        ours.sendall(question)
        ours.shutdown(socket.SHUT_WR)
        answer = read_to_end(ours)
    return answer, reap(pid)


# 2.2


def receive_exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EndedEarly(len(data), n)
        data += more
    return data


# 2.3


def set_nonblocking(fd):
    old = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, old | os.O_NONBLOCK)
    return old


# 2.4


def classify_recv(sock, n):
    if n < 1:
        raise ValueError(f"n is {n}: recv(0) gives b'', as the end of file does")
    try:
        data = sock.recv(n, socket.MSG_DONTWAIT)
    except BlockingIOError as error:
        return "would block", error.errno
    except OSError as error:
        return "error", error.errno
    return ("data", data) if data else ("end", b"")


# 2.5


def send_frame(sock, payload):
    rest = memoryview(PREFIX.pack(len(payload)) + payload)
    room = select.poll()
    room.register(sock, select.POLLOUT)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            room.poll()


class FrameReader:
    def __init__(self, limit):
        self.limit = limit
        self.pending = bytearray()

    def feed(self, data):
        self.pending += data
        frames = []
        while len(self.pending) >= PREFIX.size:
            end = self.frame_end()
            if len(self.pending) < end:
                break
            frames.append(bytes(self.pending[PREFIX.size : end]))
            del self.pending[:end]
        return frames

    def frame_end(self):
        (length,) = PREFIX.unpack_from(self.pending)
        if length > self.limit:
            raise FrameTooLong(f"a frame of {length} bytes, where {self.limit} are allowed")
        return PREFIX.size + length

    def end(self):
        if self.pending:
            whole = self.frame_end() if len(self.pending) >= PREFIX.size else PREFIX.size
            raise EndedEarly(len(self.pending), whole)


# 2.6


class Worker:
    living = set()  # a worker forked later holds a copy of every end in here, until it closes them

    def __init__(self, task):
        self.status = None
        self.sock, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            for worker in (self, *Worker.living):
                worker.sock.close()
            leave_after(lambda: task(theirs))
        theirs.close()
        Worker.living.add(self)

    def end(self):
        if self.status is None:
            Worker.living.discard(self)
            self.sock.close()
            self.status = reap(self.pid)
        return self.status


# 2.7


def send_connection(channel, connection):
    rights = array.array("i", [connection.fileno()])
    channel.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    connection.close()


def receive_connection(channel):
    # Room for one descriptor is rounded up to room for two: CMSG_SPACE in cmsg(3).
    room = socket.CMSG_SPACE(array.array("i").itemsize)
    data, ancillary, _, _ = channel.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
    received = array.array("i")
    for _, _, packed in ancillary:
        received.frombytes(packed)
    if len(received) == 1:
        return socket.socket(fileno=received[0])
    for fd in received:
        os.close(fd)
    if not data:
        return None
    raise NoConnection(f"a message with {len(received)} descriptors")


# 2.8


def work(channel, answer):
    """A worker's life: one connection after the other, until the pool closes the channel."""
    # EPIPE or ECONNRESET: the pool is ending, and does not listen any more to who is free.
    with contextlib.suppress(ConnectionError):
        while (connection := receive_connection(channel)) is not None:
            with connection, contextlib.suppress(OSError, FrameTooLong):  # a bad client costs its own connection only
                converse(connection, answer)
            channel.send(b".")


def converse(connection, answer):
    reader = FrameReader(MAX_FRAME_BYTES)
    while data := connection.recv(65536):
        for request in reader.feed(data):
            send_frame(connection, answer(request))


class Crew:
    """The workers that there are, those of them that are free, and the statuses of those that are gone."""

    def __init__(self, task, size):
        self.task, self.workers, self.free, self.statuses = task, [], [], {}
        for _ in range(size):
            self.hire()

    def hire(self):
        self.workers.append(Worker(self.task))
        self.free.append(self.workers[-1])

    def hear(self, worker):
        """A worker has something to say: that it is free again, or, by end of file, that it is gone."""
        kind, _ = classify_recv(worker.sock, 1)
        if kind == "data":
            self.free.append(worker)
        else:
            self.replace(worker)

    def replace(self, worker):
        self.statuses[worker.pid] = worker.end()
        self.workers.remove(worker)
        if worker in self.free:
            self.free.remove(worker)
        self.hire()

    def end(self):
        return self.statuses | {worker.pid: worker.end() for worker in self.workers}


class Pool:
    def __init__(self, answer, size):
        self.crew = Crew(lambda channel: work(channel, answer), size)

    def serve(self, listener, control):
        while True:
            watched = [control, *(worker.sock for worker in self.crew.workers)]
            if self.crew.free:
                watched.append(listener)
            ready, _, _ = select.select(watched, [], [])
            if control in ready:
                return self.crew.end()
            for worker in [worker for worker in self.crew.workers if worker.sock in ready]:
                self.crew.hear(worker)
            if listener in ready:
                self.hand_over(listener.accept()[0])

    def hand_over(self, connection):
        with connection, contextlib.suppress(BrokenPipeError):  # the worker died just now: the next turn hears of it
            send_connection(self.crew.free.pop(0).sock, connection)

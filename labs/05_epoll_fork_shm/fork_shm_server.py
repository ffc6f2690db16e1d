"""A chat server with a process for each client: epoll, fork, and a shared memory in which nothing is copied or lost.

The parent watches the listener and a socketpair to each child, its doorbell. Each connection gets a child, which
watches its client and its doorbell. What a client says is received into shared memory, see shared_log.py; the child
rings the parent, the parent enters it into the log and rings the children, and these send it to their clients, from
where it lies. A bell says "look again" and no more: it may come twice, or once for many, and nothing is lost.

Both epolls are level-triggered. A child whose ring is full, or whose client does not read, has to leave things undone,
and level-triggered epoll tells of them again; edge-triggered, it would have to remember them itself.

Sources: Kerrisk, The Linux Programming Interface, 24, 49 and 63.4; Stevens, UNIX Network Programming, 15 and 30;
epoll(7), unix(7), prctl(2), socket(7).
"""

import argparse
import contextlib
import ctypes
import errno
import fcntl
import gc
import math
import os
import resource
import select
import signal
import socket
import struct
import sys
import termios
import time
from collections.abc import Callable
from typing import NoReturn

from shared_log import LINE_BYTES, Overrun, Reader, SharedLog, Writer

LOOK, ASK = b".", b"?"  # look again; look again, and ring back: when you have moved on, or when I may
UNSENT_BYTES = 65536  # the kernel takes so much for a client beyond what is on its way
LINGER_SECONDS = 2.0
REST_SECONDS = 1.0
GRACE_SECONDS = 1.0
SLOW_READER = 4  # the kernel tells of 100 kB/s about once a second: who is known to read gets so many times the time
LOOKS = 8  # at one that keeps others waiting, before it is ended
LONGEST_WAIT_SECONDS = 86400  # epoll_wait takes an int of milliseconds
OTHER_DESCRIPTORS = 32  # standard streams, the listener, those who are turned away, and some to spare
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RESET_AT_CLOSE, FIN_AT_CLOSE = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # struct linger, socket(7)
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def log(text: str) -> None:
    """One line to standard error, or none: a log that nobody reads, a full pipe or stopped terminal, stops no room."""
    with contextlib.suppress(OSError):
        if sys.stderr and select.select([], [2], [], 0)[1]:
            os.write(2, f"{text}\n".encode())


class Bell:
    """One end of a socketpair between parent and child."""

    def __init__(self, sock: socket.socket, poller: select.epoll):
        self.sock, self.poller = sock, poller
        self.owes = False  # a question that did not fit in
        sock.setblocking(False)
        poller.register(sock, select.EPOLLIN)

    def ring(self, what: bytes = LOOK) -> None:
        """About 277 bells fill a socketpair. Then the other side is still to look: only a question must wait."""
        try:
            self.sock.send(what)
        except BlockingIOError:
            if what == ASK and not self.owes:
                self.owes = True
                self.poller.modify(self.sock, select.EPOLLIN | select.EPOLLOUT)
        except OSError:  # EPIPE, ECONNRESET: there is no other side any more, as epoll will tell
            pass

    def heard(self, events: int) -> bytes | None:
        """All that was rung, as one; b"" at the end, None when there is nothing."""
        if events & select.EPOLLOUT and self.owes:
            self.owes = False
            self.poller.modify(self.sock, select.EPOLLIN)
            self.ring(ASK)
        try:
            return self.sock.recv(4096)
        except BlockingIOError:
            return None
        except OSError:  # ECONNRESET: it ended with our bells unheard
            return b""


class Child:
    """What the parent knows of a child."""

    def __init__(self, pid: int, slot: int, bell: Bell, name: str):
        self.pid, self.slot, self.bell, self.name = pid, slot, bell, name
        self.asked = -math.inf  # when it was last asked, unless it has rung since then
        self.seen: tuple[int, int] | None = None  # how far it had read, the last time that it was behind …
        self.since = 0.0  # … and since when
        self.slow = False  # has it moved since it was first behind?
        self.gone = False


class ForkShmServer:
    """The parent. `listener` is a listening TCP socket; `options` are those of the command line."""

    def __init__(self, listener: socket.socket, options: argparse.Namespace):
        self.listener, self.options, self.pid = listener, options, os.getpid()
        self.log = SharedLog(options.max_clients, max(options.queue_bytes, 2 * LINE_BYTES))
        self.slots = list(range(options.max_clients))
        self.poller = select.epoll()
        self.children: dict[int, Child] = {}  # by descriptor of the bell
        self.unheard: set[Child] = set()  # the log was full before all that they said was in it
        self.waiting: set[Child] = set()  # their rings are full
        self.strangers: dict[int, tuple[socket.socket, float]] = {}  # those turned away, until when; by descriptor
        self.pair: tuple[socket.socket, socket.socket] | None = None  # for the next child
        self.rest_until: float | None = None

    @staticmethod
    def open_listener(host: str, port: int) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart may find old ones in TIME_WAIT
        listener.bind((host, port))
        listener.listen(socket.SOMAXCONN)
        return listener

    def serve(self) -> NoReturn:
        gc.freeze()  # or a collection in a child would write to, and so copy, every page that holds an object
        self.listener.setblocking(False)
        self.poller.register(self.listener, select.EPOLLIN)
        try:
            while True:
                self.turn(dict(self.poller.poll(self.seconds_to_wait())))
        finally:
            if os.getpid() == self.pid:  # a signal may also hit a child that has not come to itself yet
                self.stop()

    def turn(self, ready: dict[int, int]) -> None:
        if ready.pop(self.listener.fileno(), 0):
            self.accept()  # first, so that all who are here hear this turn's lines
        for fd, events in ready.items():
            self.handle(fd, events)
        if tight := self.log.crowded or self.pressed():
            self.make_room()
        if self.log.publish():
            for child in self.children.values():
                child.bell.ring()
        self.do_what_is_due()
        if tight and self.judge_readers():
            self.turn({})  # whom they waited for has gone, and its last words are in the log

    def handle(self, fd: int, events: int) -> None:
        if fd in self.children:
            self.hear(self.children[fd], events)
        elif fd in self.strangers:
            self.see_off(fd)

    def seconds_to_wait(self) -> float:
        due = [until for _, until in self.strangers.values()][:1]  # the first to come is the first to go
        due += [self.rest_until] if self.rest_until else []
        due += [time.monotonic() + self.options.stall_seconds / LOOKS] if self.pressed() else []
        return max(0, min(min(due) - time.monotonic(), LONGEST_WAIT_SECONDS)) if due else -1

    def do_what_is_due(self) -> None:
        now = time.monotonic()
        for fd in [fd for fd, (_, until) in self.strangers.items() if until <= now]:
            self.forget(fd)
        if self.rest_until and self.rest_until <= now:
            self.rest_until = None
            self.poller.modify(self.listener, select.EPOLLIN)

    # Newcomers.

    def accept(self) -> None:
        """Accept until EAGAIN. The socketpair is made first, so that whoever is accepted can be served."""
        while True:
            try:
                self.pair = self.pair or socket.socketpair()
                sock, (host, port) = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in NO_DESCRIPTOR:
                    self.rest(error)
                    return
                continue  # ECONNABORTED and the like: this one has gone, others may wait
            self.welcome(sock, f"{host}:{port}")

    def welcome(self, sock: socket.socket, name: str) -> None:
        if not self.slots:
            self.turn_away(sock, name, f"this room is full ({self.options.max_clients} clients), try again later")
            return
        (mine, its), slot = self.pair, self.slots.pop()
        self.log.enter(slot)
        try:
            pid = os.fork()
        except OSError as error:  # EAGAIN: no process is left, ENOMEM
            self.log.leave(slot)
            self.slots.append(slot)
            self.turn_away(sock, name, f"no process for you: {error.strerror}, try again later")
            return
        if pid == 0:
            self.become_child(sock, its, slot, name)
        self.pair = None
        its.close()
        sock.close()  # or the client would never see the end of its connection
        self.children[mine.fileno()] = Child(pid, slot, Bell(mine, self.poller), name)

    def become_child(self, sock: socket.socket, bell: socket.socket, slot: int, name: str) -> NoReturn:
        """After fork: let go of what is not ours, serve the client, and never come back."""
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C reaches the whole group: the parent decides
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a stopped child, too, ends with its parent
            if os.getppid() == self.pid:  # it might have died before that
                self.let_go()
                ClientProcess(sock, bell, self.log, slot, name, self.options).serve()
            status = 0
        except Overrun as error:
            log(f"{name}: {error}")
        except Exception:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)  # exit would flush the parent's buffers, and run its handlers

    def let_go(self) -> None:
        """Close what is the parent's: of the listener, its epoll and each sibling's bell this process holds a copy."""
        self.poller.close()  # not unregister: the set behind it is the parent's own
        self.listener.close()
        for child in self.children.values():
            child.bell.sock.close()
        for sock, _ in self.strangers.values():
            sock.close()
        self.pair[0].close()

    def rest(self, error: OSError) -> None:
        """Ask no more for newcomers: while they wait the listener is readable, and epoll would not sleep."""
        log(f"accept: {error.strerror}: newcomers must wait")
        self.poller.modify(self.listener, 0)
        self.rest_until = time.monotonic() + REST_SECONDS

    def turn_away(self, sock: socket.socket, name: str, notice: str) -> None:
        """A word, and FIN. It is read on for a while: a close over unread bytes may destroy the notice."""
        log(f"{name}: {notice}")
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # it has gone already, as recv will tell
            sock.send(f"* {notice}\n".encode())
            sock.shutdown(socket.SHUT_WR)
        self.strangers[sock.fileno()] = sock, time.monotonic() + LINGER_SECONDS
        self.poller.register(sock, select.EPOLLIN)

    def see_off(self, fd: int) -> None:
        try:
            gone = not self.strangers[fd][0].recv(LINE_BYTES)
        except OSError as error:
            gone = not isinstance(error, BlockingIOError)
        if gone:
            self.forget(fd)

    def forget(self, fd: int) -> None:
        self.poller.unregister(fd)
        self.strangers.pop(fd)[0].close()

    # What children say.

    def hear(self, child: Child, events: int) -> None:
        """A child has rung: there is something in its ring, or it waits for room, or it has gone."""
        rung = child.bell.heard(events)
        child.asked = -math.inf
        if rung == b"":
            self.bury(child)
            return
        if rung and ASK in rung:
            self.waiting.add(child)
        self.gather(child)

    def gather(self, child: Child) -> None:
        """Enter what it has said into the log. The slot of a child that has gone is free once that is done."""
        if not self.log.gather(child.slot):
            self.unheard.add(child)
            return
        self.unheard.discard(child)
        if child.gone:
            self.slots.append(child.slot)

    def bury(self, child: Child) -> None:
        """It has ended, or must. What it had said is said; nobody waits for what it has not read."""
        fd = child.bell.sock.fileno()
        self.poller.unregister(fd)
        child.bell.sock.close()
        del self.children[fd]
        self.waiting.discard(child)
        os.kill(child.pid, signal.SIGKILL)  # it is not waited for yet, so the pid is still its own
        os.waitpid(child.pid, 0)
        child.gone = True
        self.log.leave(child.slot)
        self.gather(child)

    # Back-pressure.

    def pressed(self) -> bool:
        return bool(self.waiting or self.unheard)

    def make_room(self) -> None:
        """Give back what everybody has read, to whoever waits for that."""
        self.log.free()
        for child in list(self.unheard):
            self.gather(child)
        for child in [child for child in self.waiting if self.log.room(child.slot) > self.log.ring_bytes // 2]:
            self.waiting.discard(child)
            child.bell.ring()

    def judge_readers(self) -> bool:
        """While somebody waits, who is behind is asked to ring when it has moved on, and ended if it never does.

        Returns whether anybody was ended.
        """
        now, before = time.monotonic(), len(self.children)
        for child in list(self.children.values()):
            seen = self.log.progress(child.slot) if self.pressed() else None
            if seen != child.seen:
                child.slow = child.seen is not None and seen is not None
                child.seen, child.since = seen, now
            elif seen and now - child.since >= self.options.stall_seconds * (SLOW_READER if child.slow else 1):
                log(f"{child.name}: evicted: others wait for it, and it takes nothing")
                self.bury(child)
                continue
            if seen and now - child.asked >= self.options.stall_seconds / LOOKS:
                child.asked = now
                child.bell.ring(ASK)
        return len(self.children) < before

    # The end.

    def stop(self) -> None:
        """Let the children close their connections. Who does not do so in time dies with us."""
        for child in self.children.values():
            child.bell.sock.shutdown(socket.SHUT_WR)
        until = time.monotonic() + GRACE_SECONDS
        while self.children and (left := until - time.monotonic()) > 0:
            for fd, events in self.poller.poll(left):
                if fd not in self.children:
                    self.poller.unregister(fd)
                elif self.children[fd].bell.heard(events) == b"":
                    self.bury(self.children[fd])


class ClientProcess:
    """A child: one client, its ring, and its way through the log."""

    def __init__(self, sock, bell, shared: SharedLog, slot: int, name: str, options: argparse.Namespace):
        self.sock, self.name, self.options = sock, name, options
        self.poller = select.epoll()
        self.bell = Bell(bell, self.poller)
        self.writer, self.reader = Writer(shared, slot), Reader(shared, slot)
        self.events: int | None = None  # what epoll is asked for; None: not registered
        self.speaks = True  # until its end of input, or its dismissal
        self.hears = True  # until the connection is broken
        self.room = True  # has the ring any left?
        self.blocked = False  # has the kernel taken as much as it can?
        self.asked = False  # does the parent wait for us to move on?
        self.dismissed = False
        self.notice = b""
        self.until = math.inf
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a line does not wait for the last one's ACK
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        # Whoever is killed leaves something unsent: its client shall learn of it, by RST. A clean end takes it back.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)

    def serve(self) -> None:
        """Until the client has gone, or the parent."""
        here = True
        while here and time.monotonic() < self.until:
            self.watch()
            here = self.turn(dict(self.poller.poll(self.seconds_to_wait())))
        if not self.reader.views:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FIN_AT_CLOSE)

    def seconds_to_wait(self) -> float:
        return -1 if self.until == math.inf else max(0, min(self.until - time.monotonic(), LONGEST_WAIT_SECONDS))

    def watch(self) -> None:
        """Ask epoll for what can be used now. Anything else it would report for ever, and never sleep."""
        reads = self.room if self.speaks else self.dismissed
        events = (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if self.blocked else 0)
        if self.speaks and not self.hears and not reads:
            events = None  # broken: its ERR and HUP come unasked, so epoll hears of it when there is room again
        if events == self.events:
            return
        if events is None:
            self.poller.unregister(self.sock)
        elif self.events is None:
            self.poller.register(self.sock, events)
        else:
            self.poller.modify(self.sock, events)
        self.events = events

    def turn(self, ready: dict[int, int]) -> bool:
        """False: the client has gone, or the parent."""
        if self.bell.sock.fileno() in ready and not self.look(ready[self.bell.sock.fileno()]):
            return False
        events = ready.get(self.sock.fileno(), 0)
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self.break_off()
        if events & ~select.EPOLLOUT and not self.receive():
            return False
        if events & select.EPOLLOUT:
            self.blocked = False
        self.deliver()
        return True

    def look(self, events: int) -> bool:
        """The parent has rung."""
        rung = self.bell.heard(events)
        if ASK in (rung or b""):
            self.asked = True
            self.give_sign_of_life()
        self.room = self.room or len(self.writer.space()) > 0
        return rung != b""

    def receive(self) -> bool:
        """Read once, straight into the ring. False: the client has gone."""
        space = self.writer.space() if self.speaks else memoryview(bytearray(LINE_BYTES))
        if not space:
            self.room = False
            self.bell.ring(ASK)
            return True
        try:
            count = self.sock.recv_into(space)
        except BlockingIOError:
            return True
        except OSError:  # ECONNRESET and the like come when all that had arrived has been read
            return False
        if not count:
            return self.end_of_input()
        if self.speaks:
            self.say(count)
        return True

    def say(self, count: int) -> None:
        """`count` bytes have come. The parent hears of whole lines only."""
        before = self.writer.said
        if not self.writer.add(count):
            self.dismiss(f"a line has at most {LINE_BYTES} bytes, its newline included")
        if self.writer.said > before:
            self.bell.ring()

    def end_of_input(self) -> bool:
        """FIN: it says no more, and may still hear. Who cannot be sent to either has gone, with half a line unsaid."""
        if not self.hears or not self.speaks:
            return False
        self.writer.complete()
        self.bell.ring()
        self.speaks = False
        self.until = time.monotonic() + self.options.half_close_seconds
        return True

    def deliver(self) -> None:
        """Send what others have said, from where it lies, until all is sent or the kernel takes no more."""
        before, was_blocked = self.reader.cursor, self.blocked
        while self.hears and not self.blocked and (self.reader.views or not self.dismissed and self.reader.take()):
            try:
                self.reader.done(self.sock.sendmsg(self.reader.views))
                self.blocked = bool(self.reader.views)
            except BlockingIOError:
                self.blocked = True
            except OSError:  # EPIPE, ECONNRESET
                self.break_off()
        if self.blocked and not was_blocked:
            self.give_sign_of_life()  # what it has to differ from when the parent asks
        if self.asked and (self.reader.cursor > before or not self.reader.views):
            self.asked = False
            self.bell.ring()
        if self.dismissed and not self.reader.views:
            self.take_leave()

    def give_sign_of_life(self) -> None:
        """How much has come to the client's side, tcp(7): it moves as soon as the client reads, before EPOLLOUT."""
        unsent = struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)))[0]
        self.reader.arrived(unsent)

    def break_off(self) -> None:
        """Nothing reaches it any more. What had arrived before can still be read, while there is room."""
        self.hears = self.blocked = False
        self.notice = b""
        self.reader.leave()

    def dismiss(self, notice: str) -> None:
        """Out of the room, with a word. It is read on for a while: a close over unread bytes may destroy the notice."""
        log(f"{self.name}: {notice}")
        self.speaks, self.dismissed = False, True
        self.notice = f"* {notice}\n".encode()
        self.until = time.monotonic() + LINGER_SECONDS

    def take_leave(self) -> None:
        """All that it was being sent is sent: the notice, and FIN."""
        self.reader.leave()
        if self.notice:
            with contextlib.suppress(OSError):
                self.sock.send(self.notice)
                self.sock.shutdown(socket.SHUT_WR)
            self.notice = b""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description="A chat server with a process for each client: epoll, fork and shared memory.")
    parser.add_argument("--host", default="127.0.0.1", help="IPv4 address or name to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=9999, help="TCP port; 0: the kernel chooses (default %(default)s)")
    parser.add_argument("--max-clients", type=int, default=1024, help="clients at a time (default %(default)s)")
    parser.add_argument(
        "--queue-bytes",
        type=int,
        default=2**20,
        help="a client's ring in the shared memory holds so"
        " much that others have still to read, 131072 at least (default %(default)s)",
    )
    parser.add_argument(
        "--stall-seconds", type=float, default=1.0, help="for who keeps others waiting (default %(default)s)"
    )
    parser.add_argument("--half-close-seconds", type=float, default=30.0, help="after a FIN (default %(default)s)")
    options = parser.parse_args()
    if not 0 <= options.port <= 65535:
        parser.error(f"--port is {options.port}, but a port is between 0 and 65535")
    for name in ("max_clients", "queue_bytes", "stall_seconds", "half_close_seconds"):
        if not 0 < getattr(options, name) < math.inf:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}, but must be greater than 0")
    return options


def allow_descriptors(max_clients: int) -> None:
    """Raise the limit of open descriptors as far as it goes, getrlimit(2): the parent has one for each client."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard - OTHER_DESCRIPTORS < max_clients:
        sys.exit(f"fork_shm_server: {max_clients} clients need more descriptors than the {hard} that are allowed")


def main(server_class: type[ForkShmServer] = ForkShmServer) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    options = parse_arguments()
    allow_descriptors(options.max_clients)
    try:
        listener = server_class.open_listener(options.host, options.port)
    except OSError as error:
        sys.exit(f"fork_shm_server: cannot listen on {options.host}:{options.port}: {error.strerror}")
    try:
        server = server_class(listener, options)
    except (OSError, OverflowError):  # ENOMEM; more than an address has bits for
        rings = f"{options.max_clients} rings of {options.queue_bytes} bytes"
        sys.exit(f"fork_shm_server: no memory for {rings}: choose a smaller --max-clients or --queue-bytes")
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    server.serve()


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

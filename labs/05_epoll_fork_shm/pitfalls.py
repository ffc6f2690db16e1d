"""Wrong versions worth seeing: each is the server with one small step replaced, and named for its symptom.

    python labs/05_epoll_fork_shm/pitfalls.py                     lists them
    python labs/05_epoll_fork_shm/pitfalls.py NAME --port 0       runs one, with the server's options

Most of them are mistakes of the server with a process for each client that many textbooks and pages show.
"""

import atexit
import contextlib
import mmap
import os
import select
import signal
import socket
import sys
from typing import NoReturn

import fork_shm_server
from fork_shm_server import ASK, LIBC, LOOK, PR_SET_PDEATHSIG, Bell, Child, ClientProcess, ForkShmServer, run_program
from shared_log import LINE_BYTES, NEVER, Reader, SharedLog, Writer

SLOT_BYTES = 1024
SEGMENT = os.environ.get("CHATLAB_SEGMENT", "chat-room")  # a fixed name; tests choose another one


# epoll.


class WaitingAtTheDoor(ForkShmServer):
    """Symptom: three come at once, and only one is let in; each later newcomer lets in the one before.
    Cause: edge-triggered, epoll tells once that somebody waits, and one accept takes one out of the backlog.
    Cure: accept until EAGAIN, or ask level-triggered.
    """

    def accept(self) -> None:
        if self.pair is None and not self.children:
            self.poller.modify(self.listener, select.EPOLLIN | select.EPOLLET)
        self.pair = self.pair or socket.socketpair()
        with contextlib.suppress(BlockingIOError):
            sock, (host, port) = self.listener.accept()
            self.welcome(sock, f"{host}:{port}")


class HalfASpeech(ClientProcess):
    """Symptom: of what somebody says at once the others hear a part, and the rest when it says something more.
    Cause: edge-triggered, epoll tells once that something has come, and one recv takes what there is room for.
    Cure: recv until EAGAIN, or ask level-triggered.
    """

    def watch(self) -> None:
        if self.events is None:
            self.events = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
            self.poller.register(self.sock, self.events)


class BusyWithAFullRing(ClientProcess):
    """Symptom: one reads slowly, another one talks, and both processors are 100 % busy.
    Cause: what does not fit into the ring stays unread, and level-triggered epoll tells of it again, and again.
    Cure: while there is no room, do not ask for EPOLLIN.
    """

    def watch(self) -> None:
        self.room = True
        super().watch()


class ClosedToNewcomers(ForkShmServer):
    """Symptom: the first one gets in, and nobody after.
    Cause: the child unregisters the listener in the epoll that it inherited. The set behind it is the parent's.
    Cure: close the inherited epoll, and nothing else.
    """

    def let_go(self) -> None:
        self.poller.unregister(self.listener)
        super().let_go()


# fork.


class NoEndOfFile(ForkShmServer):
    """Symptom: a client's process has ended, and the client waits for the end of its connection for ever.
    Cause: the parent keeps its copy of the connection, and so does every child that is forked later.
    Cure: the parent closes the connection right after the fork.
    """

    def welcome(self, sock: socket.socket, name: str) -> None:
        os.dup(sock.fileno())  # for the close that is left out: the socket object is closed when it is forgotten
        super().welcome(sock, name)


class OrphansLiveOn(ForkShmServer):
    """Symptom: each child has a descriptor more than the last one, and they all live on when the parent is killed.
    Cause: a child keeps the parent's ends of its own bell and of its siblings', so nobody ever sees their end.
    Cure: close in the child what is not its own.
    """

    def let_go(self) -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, 0)  # that is for children that are stopped, and would hide what happens to others
        self.poller.close()
        self.listener.close()


class ToldTwice(ForkShmServer):
    """Symptom: standard output is a file or a pipe, and each time somebody leaves, the log so far is in it again.
    Cause: the child ends by exit, which writes its copy of what the parent has printed, and still has in a buffer.
    Cure: os._exit.
    """

    def welcome(self, sock: socket.socket, name: str) -> None:
        print(f"welcome, {name}")  # the log
        super().welcome(sock, name)

    def become_child(self, sock: socket.socket, bell: socket.socket, slot: int, name: str) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.let_go()
        ClientProcess(sock, bell, self.log, slot, name, self.options).serve()
        sys.exit()


# Shared memory.


def unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # the other server has done it
        os.unlink(path)


class TwoRoomsInOne(SharedLog):
    """Symptom: two servers run, and people of the one hear people of the other; whoever may log in can read it all.
    Cause: the shared memory has a name, always the same, and mode 0644. It outlives a server that is killed, too.
    Cure: an anonymous mmap, made before the first fork.
    """

    def __init__(self, slots: int, ring_bytes: int, entries: int = 65536):
        super().__init__(slots, ring_bytes, entries)
        path = f"/dev/shm/{SEGMENT}"  # what shm_open does: shm_overview(7)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(fd, len(self.memory))
        self.memory = mmap.mmap(fd, len(self.memory))
        os.close(fd)
        self.bytes = memoryview(self.memory)
        self.words = self.bytes[: self._rings].cast("Q")
        for slot in range(slots):
            self.words[self.cursor(slot)] = NEVER
        atexit.register(unlink, path)


class OldWordsBehindTheNew(Reader):
    """Symptom: behind each line come a thousand bytes that nobody has said now: NULs, or words of long ago.
    Cause: the whole slot of 1024 bytes is sent, however short the message in it.
    Cure: send exactly the bytes of the message: its length belongs to it.
    """

    def take(self) -> bool:
        while not self.views and self.taken < self.words[self.log.ORDERED]:
            for _, slot, position, _ in self.log.read_entries(self.taken, self.words[self.log.ORDERED]):
                self.taken += 1
                if slot != self.slot:
                    start = self.log.ring(slot) + position % self.log.ring_bytes
                    self.views.append(self.log.bytes[start : start + SLOT_BYTES])
                    self._ends.append(self.taken)
            if not self.views:
                self._move(self.taken)
        return bool(self.views)


class WrittenOver(Writer):
    """Symptom: who reads late hears some lines not at all, and others several times, or in pieces.
    Cause: the writer does not look how far the readers are. What it writes next lies over what they have not read.
    Cure: back-pressure: write only where everybody has read, and let the speaker wait.
    """

    def space(self) -> memoryview:
        offset = self.received % self.log.ring_bytes
        start = self._ring + offset
        return self.log.bytes[start : start + min(LINE_BYTES, self.log.ring_bytes - offset)]


class ReadButNotSent(Reader):
    """Symptom: a client that reads slowly hears some lines not at all, and others in pieces.
    Cause: what its process has looked at counts as read. It is written over before the kernel has taken it.
    Cure: move the cursor when the bytes are sent.
    """

    def take(self) -> bool:
        some = super().take()
        self._move(self.taken)
        return some


class TwoInOneSlot(ForkShmServer):
    """Symptom: one leaves, one comes, and somebody who has been there all the time is not heard any more.
    Cause: the parent closes the gap in its table with the last child, and this one goes on with the slot that it had.
    Cure: a slot's number never changes while its child lives.
    """

    def gather(self, child: Child) -> None:
        super().gather(child)
        if child.gone and child not in self.unheard and self.children:
            last = list(self.children.values())[-1]
            last.slot, self.slots[-1] = child.slot, last.slot


# Doorbells.


class FrozenAtTheBell(Bell):
    """Symptom: one child is stopped, and after some 277 more lines nobody hears anything.
    Cause: a bell for each message, and each must be sent: the parent waits until the stopped child has taken one.
    Cure: a bell says "look again": when there are some already, one more is not needed.
    """

    def ring(self, what: bytes = LOOK) -> None:
        self.sock.setblocking(True)
        with contextlib.suppress(OSError):
            self.sock.send(what)
        self.sock.setblocking(False)


class HeardTooLate(ForkShmServer):
    """Symptom: now and then the last line of a talk is heard only when its speaker says another one.
    Cause: the parent looks first and takes the bells after. A bell that was rung between belongs to what it missed.
    Cure: take the bells first, and look after.
    """

    def hear(self, child: Child, events: int) -> None:
        self.gather(child)
        rung = child.bell.heard(events)
        child.asked = False
        if rung == b"":
            self.bury(child)
        elif rung and ASK in rung:
            self.waiting.add(child)


PITFALLS = {
    "waiting-at-the-door": WaitingAtTheDoor,
    "half-a-speech": HalfASpeech,
    "busy-with-a-full-ring": BusyWithAFullRing,
    "closed-to-newcomers": ClosedToNewcomers,
    "no-end-of-file": NoEndOfFile,
    "orphans-live-on": OrphansLiveOn,
    "told-twice": ToldTwice,
    "two-rooms-in-one": TwoRoomsInOne,
    "old-words-behind-the-new": OldWordsBehindTheNew,
    "written-over": WrittenOver,
    "read-but-not-sent": ReadButNotSent,
    "two-in-one-slot": TwoInOneSlot,
    "frozen-at-the-bell": FrozenAtTheBell,
    "heard-too-late": HeardTooLate,
}


def main() -> None:
    if len(sys.argv) == 1:
        print("usage: python labs/05_epoll_fork_shm/pitfalls.py NAME --port 0")
        for name, pitfall in PITFALLS.items():
            print(f"  {name:25} {pitfall.__doc__.splitlines()[0]}")
        return
    name = sys.argv.pop(1)
    if name not in PITFALLS:
        sys.exit(f"pitfalls.py: no pitfall {name!r}; there are: {', '.join(PITFALLS)}")
    pitfall = PITFALLS[name]
    setattr(fork_shm_server, pitfall.__base__.__name__, pitfall)  # in the place of the class that it is made from
    fork_shm_server.main(fork_shm_server.ForkShmServer)


if __name__ == "__main__":
    run_program(main)

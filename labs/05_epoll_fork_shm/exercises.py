"""Lab 05, epoll, fork and shared memory: your exercises. `make check-5` judges them, `make hint EX=5.2` helps.

Edit this file and no other. Each docstring is the whole contract. Write the pieces one by one: 5.10 puts them together
into a chat server of your own, a process for each client. You may add functions and classes. Standard library only.
"""

import argparse
import os
import resource
import signal
import socket
import sys

MAX_LINE_BYTES = 65536  # the longest line of the chat, its newline included
OTHER_DESCRIPTORS = 32  # standard streams, the listener, newcomers on their way to a child, and some to spare
MOST_CLIENTS = 2000  # more would need more than a gigabyte of shared memory


class EpollPoller:
    """5.1 select.poll's interface over an epoll: a loop written for poll goes on working, and scales.

    An epoll of its own, made once, keeps what is watched from one poll to the next; the kernel is told of what changes,
    and of nothing twice. The constants are poll's: EPOLLIN and POLLIN are the same number, and so are OUT, PRI, ERR,
    HUP and RDHUP. Level-triggered, as poll is. `fd` is an int, or an object with fileno().
    Source: epoll(7), "Questions and answers"; epoll_ctl(2); TLPI 63.4.
    """

    def __init__(self):
        raise NotImplementedError("exercise 5.1 is not started")

    def register(self, fd, events):
        """Watch `fd` for `events`, a mask. A number that is watched already gets the new mask, as with poll.

        The number may mean another file than when it was registered: that one was closed without a word to us, and the
        number given out again. What it means now is what is watched.
        A regular file and /dev/null are always ready to be read and written. poll says so, and epoll refuses them
        (EPERM): they can be registered like anything else. Raises OSError as epoll_ctl does for any other reason, such
        as EBADF.
        """
        raise NotImplementedError("exercise 5.1 is not started")

    def unregister(self, fd):
        """Watch `fd` no more. Raises KeyError when it is not registered, as poll does.

        A descriptor that has been closed meanwhile can be unregistered all the same, also when its number means another
        file by now. Once it is unregistered nothing is said of it, even if somebody, such as a child, has a copy.
        """
        raise NotImplementedError("exercise 5.1 is not started")

    def poll(self, timeout=None):
        """Return what is ready: a list of (fd, events), fd an int, in any order.

        Argument: timeout, in milliseconds as poll takes it, an int or a float; None or a negative one: wait for ever.
        Sleeps in epoll_wait until something is ready, or the time is over: then the list is empty. What epoll refuses
        is ready at once, for what it was asked of POLLIN and POLLOUT, beside whatever else is ready then.
        """
        raise NotImplementedError("exercise 5.1 is not started")

    def close(self):
        """Close the epoll's descriptor. What was watched stays open. A second close does nothing."""
        raise NotImplementedError("exercise 5.1 is not started")


def collect(socks):
    """5.2 Receive all that comes on several connections, until each has ended, told by edge-triggered epoll.

    Argument: socks, a list of connected stream sockets, blocking or not; some may have something to read already.
    Returns a list of bytes, in the order of socks: all that came on each until its end of file.
    One epoll is told of each socket once (EPOLLIN | EPOLLET). It tells when something has come, and not again because
    something is left. So whoever is told reads until nothing is left, by recv of at most 4096 bytes, and waits in epoll
    only: others may have something to say. The sockets are left open, non-blocking or not; the epoll is closed.
    Source: epoll(7), "Level-triggered and edge-triggered"; TLPI 63.4.6.
    """
    raise NotImplementedError("exercise 5.2 is not started")


# 5.3 Break the one-slot version: a chat server as it stands in many textbooks, with one slot for each client.
#
#     import mmap
#     import os
#     import select
#     import socket
#
#     SLOT_BYTES = 1024
#     slots = mmap.mmap(-1, 3 * SLOT_BYTES)  # a slot for each client, shared by the parent and its three children
#
#     def child(number, client, bell):
#         watch = select.epoll()
#         watch.register(client, select.EPOLLIN)
#         watch.register(bell, select.EPOLLIN)
#         while True:
#             for fd, _ in watch.poll():
#                 if fd == client.fileno():  # my client has spoken: into its slot with it, and the parent hears whose
#                     line = client.recv(SLOT_BYTES)
#                     slots[number * SLOT_BYTES : (number + 1) * SLOT_BYTES] = line.ljust(SLOT_BYTES, b"\0")
#                     bell.send(bytes([number]))
#                 else:  # somebody else has spoken: send what is in that slot
#                     who = bell.recv(1)[0]
#                     line = slots[who * SLOT_BYTES : (who + 1) * SLOT_BYTES].rstrip(b"\0")
#                     client.send(line)
#
#     listener = socket.create_server(("127.0.0.1", 0))
#     print("listening on {}:{}".format(*listener.getsockname()), flush=True)
#     watch, bells = select.epoll(), []
#     for number in range(3):  # A, B and C, in the order of their coming
#         client, _ = listener.accept()
#         mine, its = socket.socketpair()
#         pid = os.fork()
#         if pid == 0:
#             child(number, client, its)
#         print("child", "ABC"[number], pid, flush=True)
#         watch.register(mine, select.EPOLLIN)
#         bells.append(mine)
#
#     while True:
#         for fd, _ in watch.poll():
#             who = os.read(fd, 1)  # one number for each line
#             for number in range(3):
#                 if number != who[0]:
#                     bells[number].send(who)
#
# The judge runs it with three clients, A, B and C, and carries out your schedule: a list of steps, one after the other.
# "A says": A says its next line. "freeze X": X gets SIGSTOP, and does nothing from then on, until "thaw X", SIGCONT;
# X is "parent", or "A", "B" or "C": the child that serves this client. After each step the judge waits until all that
# can happen has happened. Nothing else goes wrong: no line is long, no buffer full, no process dies.
#
# Let A say three lines, and B never get the second one, while C gets all three, and B the first and the third. And say
# what B gets then: the numbers (1, 2, 3) of the lines that come to it, in order. `make check-5.3` carries it out.

SCHEDULE = None  # a list of str such as ["A says", "freeze parent", "A says", "thaw parent", "A says"]
B_RECEIVES = None  # a list of int


class Tally:
    """5.4 A count that several processes add to: in shared memory, without a lock, and no update is lost.

    Tally(writers): for so many writers, each with a number of its own, 0 to writers - 1. The memory has no name, and is
    shared with every process that is forked later. `add` is called by one process at a time for each number; when that
    one has ended, another may go on under its number. `total` is called by anybody at any time.
    A process may be stopped or killed at any moment, in the middle of add or total: the others go on, and nothing that
    they add is lost. Source: mmap(2), MAP_ANONYMOUS; TLPI 49.7; the handout, on a field that has one writer.
    """

    def __init__(self, writers):
        raise NotImplementedError("exercise 5.4 is not started")

    def add(self, writer, amount=1):
        """Count `amount` more, an int above 0, as the writer with this number. All of them stay below 2**63."""
        raise NotImplementedError("exercise 5.4 is not started")

    def total(self):
        """Return what all have added: an int. Whatever an add that has returned has added is in it.

        Asked again, by the same process, it never says less than before.
        """
        raise NotImplementedError("exercise 5.4 is not started")


class Ring:
    """5.5 A ring of bytes in shared memory: one process writes, another one reads, and neither ever waits.

    Ring(memory): memory, a writable memoryview of bytes, longer than 128. Two positions are in it, and they only grow:

        memory[0:8]     how many bytes have ever been written; stored by the writer alone
        memory[64:72]   how many bytes have ever been read; stored by the reader alone
        memory[128:]    the ring: byte number n, counted from 0, lies at place n % size; size is this part's length

    Each position is eight bytes, as memoryview.cast("Q") has them; it stays below 2**63. Zeros are an empty ring. All
    `size` bytes are used: a ring is full when that many bytes are written and not read, and empty when none is.
    There is nothing to remember besides: Ring objects over the same memory, in one process or two, made early or late,
    are one ring, in which a new one goes on where the last one stopped.
    A writer may be stopped or killed at any moment, and so may a reader. So a position moves by one store, after the
    bytes that it speaks of have been copied: before that store, nothing has happened yet.
    Source: Lamport, Proving the Correctness of Multiprocess Programs (1977); the handout.
    """

    def __init__(self, memory):
        raise NotImplementedError("exercise 5.5 is not started")

    def write(self, data):
        """Copy as much of `data` (bytes) as there is room for, from its beginning, and return how many bytes: an int.

        0 when the ring is full, or data empty. The rest is the caller's, who tries again later.
        """
        raise NotImplementedError("exercise 5.5 is not started")

    def read(self, limit):
        """Take the next bytes out, at most `limit` of them, and return them: bytes, b"" when the ring is empty."""
        raise NotImplementedError("exercise 5.5 is not started")


class Cells:
    """5.6 Cells in shared memory, a number on either side of each record's bytes: a reader tells good ones from torn.

    Cells(memory, count, size): memory, a shared mmap, all zero when the first Cells is made over it, of count * (24 +
    size) bytes; size, in bytes, a multiple of 8, what the longest record takes. Another process, or another Cells over
    the same memory, reads what this one writes.
    Records are numbered 1, 2, 3 …, and record n has cell n % count: so it takes the place of record n - count. A cell
    is BEGIN, LENGTH, `size` bytes, END, one behind the other. BEGIN, LENGTH and END are numbers of eight bytes, each
    stored and loaded at once, as memoryview(memory).cast("Q") does. There is one writer, and it waits for no reader.
    Source: the handout; Lamport, Concurrent Reading and Writing (1977); mmap(2).
    """

    def __init__(self, memory, count, size):
        raise NotImplementedError("exercise 5.6 is not started")

    def write(self, number, fill):
        """Write record `number`, and return its length in bytes.

        fill(view) is called once, with a memoryview of the cell's `size` bytes: it writes some of them, from the first
        one on, and returns how many, as recv_into does. BEGIN is `number` before fill may touch a byte; END becomes
        `number` last of all, when LENGTH and the bytes are there. Until then no reader takes the record for good.
        What fill raises is passed on; the record is then not written, and stays torn.
        """
        raise NotImplementedError("exercise 5.6 is not started")

    def read(self, number, use):
        """Let record `number` be used where it lies, and say what became of that. Never waits.

        use(view) is called, at most once, with a memoryview of the record's bytes, LENGTH of them and no copy; it may
        take its time, and the writer may write meanwhile. Returns one of
        ("good", what use returned)  the record was there, whole, from before use was called until after it returned;
        ("early", None)    the writer has not begun it: the cell has an older record, or none;
        ("torn", None)     it is begun and not finished: the writer is at work on it, was stopped, or died there;
        ("overrun", None)  a later record is in its place, or has been begun there, perhaps while use was at work: what
                           use returned is thrown away.
        Unless the record is there and whole, use is not called.
        """
        raise NotImplementedError("exercise 5.6 is not started")


class StaleHandle(LookupError):
    """A handle of somebody who has left, or of nobody: it must not be used."""


class Slots:
    """5.7 A table of slots that are used again and again, and handles that are good for one owner only.

    Slots(words): words, a memoryview of shared memory with format "Q", a word for each slot, all zero at first.
    words[slot] is the slot's generation: it begins with 0, and each allocation and each freeing makes it one more. So
    it is odd while somebody has the slot, and even while it is free. Whoever has slot s in generation g is known by the
    handle g * len(words) + s: one int, which fits into eight bytes of a message.
    One process allocates and frees. Others, forked after the table was made, ask `is_current` of the same memory, by
    the same object or by a Slots of their own over it. A slot's number never changes while somebody has it.
    Source: the handout.
    """

    def __init__(self, words):
        raise NotImplementedError("exercise 5.7 is not started")

    def allocate(self):
        """Take any free slot, and return the new owner's handle: an int. None when no slot is free."""
        raise NotImplementedError("exercise 5.7 is not started")

    def free(self, handle):
        """The owner has left: free its slot. Raises StaleHandle, and changes nothing, if the handle is not current."""
        raise NotImplementedError("exercise 5.7 is not started")

    def is_current(self, handle):
        """Return whether the handle's owner has its slot now: True or False.

        handle, any int of eight bytes, such as one out of a message: it may be late, or be nobody's at all.
        """
        raise NotImplementedError("exercise 5.7 is not started")


def become_child(poller, connections, keep):
    """5.8 After fork, in the child: let go of every descriptor that is the parent's or a sibling's.

    Arguments: poller, the parent's select.epoll; connections, a list of sockets that the parent has: its listener, its
    ends of all doorbells, and the like; keep, a list of sockets that this child goes on with: its client, its doorbell.
    A socket may be in both lists: it is kept. A socket in `connections` may be closed already: that is no error.
    Afterwards
    - the process has the descriptors of `keep`, and 0, 1 and 2, and no others: whoever opened them, and whatever
      number they have. A number can be above the limit, RLIMIT_NOFILE: that may have been lowered since;
    - poller and the connections that are not kept are closed as objects: poller.closed is True, fileno() is -1. If only
      the number were closed, the object would close it again when it goes, and by then it may be somebody else's;
    - what the parent's epoll watches is as it was. The child has a copy of the descriptor; the set behind it is one.
    Returns None. Source: fork(2), close_range(2), epoll(7) "Questions and answers", proc(5) on /proc/PID/fd.
    """
    raise NotImplementedError("exercise 5.8 is not started")


class Doorbell:
    """5.9 One end of a socketpair, as a doorbell: it says "look again", and no more.

    Doorbell(sock): sock, one end of a stream socketpair; the other end's owner has a Doorbell over that. Rings say
    nothing but that there may be something to see, so many may be taken for one. What must not happen is that something
    is there, nobody looks, and no ring is left to tell of it.
    Source: the handout; unix(7), socketpair(2); Kerrisk, The Linux Programming Interface, 63.5.2, the self-pipe trick.
    """

    def __init__(self, sock):
        raise NotImplementedError("exercise 5.9 is not started")

    def fileno(self):
        """Return the descriptor, so that epoll and poll take a Doorbell as they take a socket."""
        raise NotImplementedError("exercise 5.9 is not started")

    def ring(self):
        """Ring at the other end. Return True, or False when nobody is there any more. Never waits or raises.

        A socketpair holds some hundreds of rings. When no more fit in, the other side has rings that it has not heard
        yet, and will look: that is as good as one more.
        """
        raise NotImplementedError("exercise 5.9 is not started")

    def hear(self, look):
        """Take all rings that have come, as one, and only then call look(), once. Never waits.

        A ring that comes when look has begun is for the next time: it is not taken with the others.
        Returns True while there may be more to hear; look is not called when nothing has come. Returns False when the
        other end is closed, and all that it rang is heard; look is called then too, since the last that was done there
        is still to be seen. An end that was closed with rings of ours unheard (ECONNRESET) is an end like any other.
        """
        raise NotImplementedError("exercise 5.9 is not started")

    def attend(self, look):
        """Sleep until something has come, hear it, and again, until the other end is closed. Returns None."""
        raise NotImplementedError("exercise 5.9 is not started")


def serve(listener, max_clients):
    """5.10 Be a chat server with a process for each client, made of the pieces above.

    Arguments: listener, a listening TCP socket, blocking or not; max_clients, how many may be in the room.
    It never returns; an exception, such as SystemExit from a signal handler, ends it. The children end by themselves,
    when their doorbells do.

    The parent watches its listener and a doorbell to each child. Whoever connects gets a child, by fork, which watches
    its client and its doorbell. What is said goes from process to process through shared memory, which was made before
    the first fork; on the socketpairs there are rings and nothing else. How the memory is laid out is yours to decide.
    The simplest that works: two Rings for each slot, from the child to the parent and back. The parent reads lines out
    of the one kind and writes them into the other, and reads on only when everybody's ring has taken what was said
    before; what has not found room waits in the parent. Whoever has read from a ring, or written to one, rings.

    - A line goes, whole and once, to everyone who was in the room when it was read, but its sender; each sender's order
      is kept. A newcomer hears what is said from then on, and nothing of whoever had the slot before.
    - FIN: what the client has said is delivered, an unfinished line completed with b"\\n"; then it is closed.
    - A reset, or a child that is killed: the client's whole lines are delivered, an unfinished one is dropped. (A send
      that fails takes the reset's error with it: recv then gives b"", as after a FIN.) The child is waited for, so that
      no zombie stays, and its slot is free again. The others notice nothing.
    - A child that is stopped loses nothing for its client. The room waits for it when a ring is full, and not before.
    - A child has its client, its end of its doorbell, an epoll of its own, descriptors 0, 1 and 2, and nothing else.
    - A newcomer beyond max_clients is closed; so is a client whose line has 65,536 bytes and no end yet.
    - When nothing happens nobody runs: each process sleeps in epoll.
    Not asked for, as the reference has it: notices, clients that go on listening after their FIN, the end of one who
    never reads (the room waits for it), an accept or a fork that fails, a stopped child whose parent is killed.
    Source: the handout, and all of the above.
    """
    raise NotImplementedError("exercise 5.10 is not started")


# Given: your server as a program. `python labs/05_epoll_fork_shm/exercises.py --port 0` runs it, also in `make chat`.


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

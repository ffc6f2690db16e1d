"""Five mistakes with socketpairs, each the demo with one step replaced, named for its symptom.

    python labs/02_socketpair/pitfalls.py            lists them
    python labs/02_socketpair/pitfalls.py NAME       runs one

Some of them hang: that is their symptom. So each runs in a child, under a watchdog: when neither it nor a child of its
own has moved for half a second, the watchdog says what they wait in, and ends them.
"""

import contextlib
import inspect
import os
import pathlib
import select
import signal
import sys

from socketpair_demo import BULK_BYTES, SocketpairDemo, end_children, run_program, say

PATIENCE_SECONDS = 0.5


class NoEndOfFile(SocketpairDemo):
    """Symptom: the child has left, and the parent still waits to hear from it.
    Cause: the parent kept its copy of the child's end, so the last copy is never closed: it waits for itself.
    Cure: close the other's end right after the fork, in both processes.
    """

    part = "fork"

    def close_other_end(self, other):
        say("   parent: keeps the child's end open as well")


class BothListen(SocketpairDemo):
    """Symptom: parent and child are alive, neither says a word: a deadlock.
    Cause: both read first. The child waits for a question, the parent waits for a greeting that nobody promised.
    Cure: a protocol says who speaks first; a process that cannot know polls instead of reading.
    """

    part = "fork"

    def ask(self, end):
        say(f"   parent: waits on fd {end.fileno()} for the child to speak first")
        end.recv(64)
        super().ask(end)


class MessagesRunTogether(SocketpairDemo):
    """Symptom: one message arrives where three were sent.
    Cause: each recv is taken for a message. A stream hands out the bytes that are there: many messages, or half of one.
    Cure: mark the messages (fixed length, length prefix, delimiter) and collect bytes until one is whole; or seqpacket.
    """

    part = "messages"

    def lines(self, end):
        while message := end.recv(4096):
            yield message


class BothSend(SocketpairDemo):
    """Symptom: parent and child are alive, both in the middle of a send: a deadlock with full buffers.
    Cause: each sends more than the buffers hold before it reads, so neither makes room for the other.
    Cure: take turns; or never send without being ready to read: non-blocking sends, and poll for both directions.
    """

    part = "buffers"

    def swap_in_child(self, ours, theirs):
        ours.close()
        select.select([theirs], [], [])
        say(f"   child:  fd {theirs.fileno()} has bytes to read, but first it sends {BULK_BYTES} bytes of its own")
        theirs.sendall(bytes(BULK_BYTES))
        self.count(theirs)


class ResetInsteadOfEnd(SocketpairDemo):
    """Symptom: ECONNRESET where end of file was expected, after an answer that arrived whole.
    Cause: the child closed its end with the question still unread in it: the kernel reports that data was lost.
    Cure: read what was sent to you before you close; take ECONNRESET for what it is, an end that lost something.
    """

    part = "fork"

    def answer(self, end):
        select.select([end], [], [])
        say(f"   child:  fd {end.fileno()} has a question to read; sends b'42\\n' without reading it")
        end.send(b"42\n")


PITFALLS = {
    "no-end-of-file": NoEndOfFile,
    "both-listen": BothListen,
    "messages-run-together": MessagesRunTogether,
    "both-send": BothSend,
    "reset-instead-of-end": ResetInsteadOfEnd,
}


def run(pitfall):
    """Run the part that a pitfall spoils, watched; then say what was to be seen, and why."""
    pid = os.fork()
    if pid == 0:
        try:
            getattr(pitfall(), pitfall.part)()
        except OSError as error:
            end_children()
            say(f"   parent: {type(error).__name__}: {error}")
        finally:
            os._exit(0)
    try:
        for member, status in watch(pid).items():
            who = "parent" if member == pid else "child"
            say(f"   watchdog: nothing has moved for {PATIENCE_SECONDS:g} s; the {who} {doing(member, status)}")
    finally:
        end_family(pid)
    say(inspect.getdoc(pitfall).rstrip())


def end_family(pid):
    """End a process and its children, and reap it."""
    for member in family(pid):
        with contextlib.suppress(ProcessLookupError):  # its parent died first, and init has reaped it
            os.kill(member, signal.SIGKILL)
    os.waitpid(pid, 0)


def watch(pid):
    """Wait until a process has ended (then {}), or it and its children sleep without moving (then the family)."""
    poll = select.poll()
    poll.register(os.pidfd_open(pid), select.POLLIN)  # readable once the process has ended: pidfd_open(2)
    before = None
    while not poll.poll(PATIENCE_SECONDS * 1000):
        now = family(pid)
        if now == before and not any("State:\tR" in status for status in now.values()):
            return now
        before = now
    return {}


def family(pid):
    """A process and its children: {pid: what /proc/PID/status says}, which counts every time that a process moved."""
    members = {}
    for name in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        with contextlib.suppress(OSError):  # it ended while we were looking
            status = pathlib.Path(f"/proc/{name}/status").read_text()
            if int(name) == pid or f"\nPPid:\t{pid}\n" in status:
                members[int(name)] = status
    return members


def doing(pid, status):
    """What a process does, in words: the kernel function that it sleeps in is in /proc/PID/wchan."""
    if "State:\tZ" in status:
        return "has left, and is a zombie"
    place = pathlib.Path(f"/proc/{pid}/wchan").read_text()
    call = "recv" if "unix_stream" in place else "send" if "sock_alloc_send" in place else "the kernel"
    links = {name: os.readlink(f"/proc/{pid}/fd/{name}") for name in sorted(os.listdir(f"/proc/{pid}/fd"), key=int)}
    sockets = ", ".join(f"{name} -> {link}" for name, link in links.items() if link.startswith("socket"))
    return f"waits in {call} ({place}), holding {sockets}"


def main(arguments):
    if not arguments:
        say("usage: python labs/02_socketpair/pitfalls.py NAME")
        for name, pitfall in PITFALLS.items():
            say(f"  {name:22} {inspect.getdoc(pitfall).splitlines()[0]}")
    elif len(arguments) == 1 and arguments[0] in PITFALLS:
        run(PITFALLS[arguments[0]])
    else:
        sys.exit(f"pitfalls.py: no pitfall {' '.join(arguments)!r}; there are: {', '.join(PITFALLS)}")


if __name__ == "__main__":
    run_program(main, sys.argv[1:])

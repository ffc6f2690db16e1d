"""Wrong versions worth seeing: each is a reference program of this lab with one small step replaced.

`python labs/01_fork/pitfalls.py` lists them, and `python labs/01_fork/pitfalls.py NAME` runs one. Those that spoil the
server take its options too, `--port 0` for instance.
"""

import os
import sys
import threading

import fork_server
from fork_demo import ForkDemo
from fork_server import ForkServer, run_program


class PrintedTwice(ForkDemo):
    """Text printed once is there twice.

    Symptom: standard output is a file or a pipe (add `| cat`), and lines printed before the fork appear twice.
    Cause: they were still in the buffer; fork copied the buffer, and each process wrote its copy.
    Cure: flush before the fork, or let the child leave by os._exit without a flush.
    """

    part = ForkDemo.one_fork

    def fork(self) -> int:
        return os.fork()


class TooManyProcesses(ForkDemo):
    """Three children are asked for, and seven come.

    Symptom: lines of the parent are told again, by processes that should have ended long before.
    Cause: the child has done its work, does not leave, and runs on in the parent's code: here the loop that forks.
    Cure: os._exit at the child's end, in a `finally`, so that no exception leads past it.
    """

    part = ForkDemo.zombies

    def leave(self, status: int) -> None:
        pass


class ZombiesRemain(ForkDemo):
    """Five children have ended, and one is reaped.

    Symptom: children in state Z (`ps` says <defunct>) for as long as the parent lives.
    Cause: one wait takes one status; the others stay in the process table until somebody asks for them.
    Cure: wait until the kernel says ECHILD, or once for each child.
    """

    part = ForkDemo.zombies

    def reap(self) -> dict[int, int]:
        pid, status = os.wait()
        return {pid: os.waitstatus_to_exitcode(status)}


class ChildHangs(ForkDemo):
    """The child waits for a lock that nobody will ever release.

    Symptom: the child hangs where it first takes the lock (of a logger, of malloc in C); the parent is fine.
    Cause: another thread held the lock at the fork. The child has a copy of the held lock, and none of the thread.
    Cure: fork before the first thread is started, or exec right after the fork.
    """

    part = ForkDemo.one_fork

    def fork(self) -> int:
        lock, release = threading.Lock(), threading.Event()
        lock.acquire()
        holder = threading.Thread(target=lambda: (release.wait(), lock.release()))
        holder.start()
        pid = super().fork()
        release.set()  # in the child too, where no thread waits for it
        taken = lock.acquire(timeout=1)
        self.say(f"process {os.getpid()}: the lock is {'free' if taken else 'still held after a second'}")
        return pid


class NoEndOfFile(ForkServer):
    """The client never sees end of file.

    Symptom: the child has served its client and left, and the client still waits; the server runs out of descriptors.
    Cause: the parent keeps its copy of the connection: the count falls from 2 to 1, and never to 0.
    Cure: the parent closes the connection right after the fork.
    """

    def close_in_parent(self, connection: object) -> None:
        connection.detach()  # forgets the descriptor without closing it; losing the object would close it, in Python


class PortStaysTaken(ForkServer):
    """The server has been killed, and its port is still in use.

    Symptom: after `kill -9` of the server a restart fails with "Address already in use"; connections to the port
    succeed, and nobody answers.
    Cause: each child keeps its copy of the listener, so the kernel goes on completing connections for it.
    Cure: the child closes the listener right after the fork.
    """

    def close_in_child(self) -> None:
        for pidfd in self.children:
            os.close(pidfd)


PITFALLS = {
    "printed-twice": PrintedTwice,
    "too-many-processes": TooManyProcesses,
    "zombies-remain": ZombiesRemain,
    "child-hangs": ChildHangs,
    "no-end-of-file": NoEndOfFile,
    "port-stays-taken": PortStaysTaken,
}


def main() -> None:
    if len(sys.argv) == 1:
        for name, pitfall in PITFALLS.items():
            print(f"{name:20} {pitfall.__doc__.splitlines()[0]}")
        return
    name = sys.argv.pop(1)
    if name not in PITFALLS:
        sys.exit(f"pitfalls.py: there is no pitfall {name!r}; the names are {', '.join(PITFALLS)}")
    pitfall = PITFALLS[name]
    if issubclass(pitfall, ForkServer):
        fork_server.main(pitfall)
    elif len(sys.argv) > 1:
        sys.exit(f"pitfalls.py: {name} takes no options")
    else:
        pitfall.part(pitfall(count=3 if pitfall is TooManyProcesses else 5))


if __name__ == "__main__":
    run_program(main)

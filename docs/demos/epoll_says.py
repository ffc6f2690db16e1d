#!/usr/bin/env python3
"""Show what epoll says where poll would say it too, and where it would not: every answer is the kernel's own.

One socket is watched by poll, by epoll level-triggered and by epoll edge-triggered; then descriptors are copied, closed
and inherited, and files are registered. It ends by itself. Sources: epoll(7), epoll_ctl(2), poll(2); Kerrisk, 63.4.
"""

import argparse
import errno
import os
import re
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

NAMES = {select.EPOLLIN: "IN", select.EPOLLOUT: "OUT", select.EPOLLHUP: "HUP", select.EPOLLERR: "ERR"}
EVENTS = select.EPOLLIN


def words(ready: list[tuple[int, int]]) -> str:
    """What poll or epoll has returned, in words: they are asked for one thing at a time."""
    return " ".join(name for _, events in ready for bit, name in NAMES.items() if events & bit) or "nothing"


def tell(step: str, *answers: str) -> None:
    print(f"   {step:48}", " ".join(f"{answer:8}" for answer in answers).rstrip())


def attempt(action: Callable, *arguments) -> str:
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def watching(sock: socket.socket, events: int = EVENTS) -> select.epoll:
    epoll = select.epoll()
    epoll.register(sock, events)
    return epoll


def level_and_edge() -> None:
    """The same socket, asked again and again."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    poll, level, edge = select.poll(), watching(ours), watching(ours, EVENTS | select.EPOLLET)
    poll.register(ours, EVENTS)

    def ask(step: str) -> None:
        tell(step, words(poll.poll(0)), words(level.poll(0)), words(edge.poll(0)))

    print("A socket; the other side …                          poll     level    edge")
    ask("says nothing")
    theirs.send(b"ten bytes\n")
    ask("has said ten bytes")
    ask("   asked again")
    ours.recv(4)
    ask("   four of them read")
    theirs.send(b"more")
    ask("has said four more")
    ours.recv(4)
    ask("   four read, six are left")
    ours.recv(4096)
    ask("   all read")


def backlog() -> None:
    """Three connections wait, and one is accepted each time."""
    listener = socket.create_server(("127.0.0.1", 0))
    poll, level, edge = select.poll(), watching(listener), watching(listener, EVENTS | select.EPOLLET)
    poll.register(listener, EVENTS)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
    print("A listener with three in its backlog")
    for left, step in ((3, "three wait"), (2, "one is accepted"), (1, "another one"), (0, "the last one")):
        tell(step, words(poll.poll(0)), words(level.poll(0)), words(edge.poll(0)))
        if left:
            listener.accept()[0].close()
    for each in (listener, *clients):
        each.close()


def descriptions() -> None:
    """What is watched is not the number."""
    ours, theirs = socket.socketpair()
    epoll, number = watching(ours), ours.fileno()
    copy = os.dup(number)
    ours.close()
    theirs.send(b"hello\n")
    print("What is watched is the open file, not its number: of two copies …")
    tell("the registered one is closed; something comes", words(epoll.poll(0)))
    tell("   its number is unregistered", attempt(epoll.unregister, number))
    tell("   the interest list still has", f"{len(interest(epoll))} entry")
    os.close(copy)
    tell("the other one is closed, too", words(epoll.poll(0)))
    tell("   the interest list has", f"{len(interest(epoll))} entries")


def interest(epoll: select.epoll) -> list[str]:
    """The interest list: proc_pid_fdinfo(5)."""
    return re.findall(r"^tfd: +(\d+)", Path(f"/proc/self/fdinfo/{epoll.fileno()}").read_text(), re.MULTILINE)


def inherited() -> None:
    """A child and the epoll of its parent."""
    print("An epoll with one socket in it, inherited by a child that …")
    steps = {
        "closes the epoll": lambda epoll, sock: epoll.close(),
        "closes the socket": lambda epoll, sock: sock.close(),
        "unregisters the socket": lambda epoll, sock: epoll.unregister(sock),
    }
    for step, action in steps.items():
        ours, theirs = socket.socketpair()
        epoll = watching(ours)
        pid = os.fork()
        if pid == 0:
            try:
                action(epoll, ours)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        theirs.send(b"hello\n")
        tell(f"{step}: the parent is told", words(epoll.poll(0)))


def not_for_epoll() -> None:
    """What poll takes, and epoll does not."""
    print("Files, which are always ready                        poll     epoll")
    for path in (__file__, "/dev/null"):
        with open(path) as file:
            poll, epoll = select.poll(), select.epoll()
            poll.register(file, EVENTS)
            tell(
                "this program" if path == __file__ else path,
                words(poll.poll(0)),
                attempt(epoll.register, file, EVENTS),
            )


def main() -> int:
    """Tell the story and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    argparse.ArgumentParser(description="Show what epoll says, beside poll.").parse_args()
    for part in (level_and_edge, backlog, descriptions, inherited, not_for_epoll):
        part()
        sys.stdout.flush()  # or a child would print it again
    return 0


if __name__ == "__main__":
    sys.exit(main())

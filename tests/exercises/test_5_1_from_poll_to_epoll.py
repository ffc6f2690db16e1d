"""5.1 from poll to epoll: poll's interface and its answers, from an epoll that keeps what is watched."""

import errno
import os
import select
import socket

import pytest

from chatlab.judge import Fd

pytestmark = pytest.mark.exercise("5.1")
READ = "From poll to epoll"
SECONDS = 2.0
IDLE = 200  # connections with nothing to say
TURNS = 20
ANSWERS = ("IN", "PRI", "OUT", "ERR", "HUP", "RDHUP")

HELPERS = """
import os, select, socket

names = {}  # by number
numbers = {}

def keep(name, sock):
    numbers[name] = sock if isinstance(sock, int) else sock.detach()
    names[numbers[name]] = name

def watch(poller, name, events):
    poller.register(numbers[name], events)

def watch_idle(poller, count):
    for _ in range(count // 2):
        pair = socket.socketpair()
        idle.extend(pair)
        for sock in pair:
            poller.register(sock, select.POLLIN)

idle = []

def forget(poller, name):
    poller.unregister(numbers[name])

def shut(name):
    os.close(numbers[name])

def give_out_again(name, new):
    # The lowest free number is given out; dup2 closes it and gives it out in one call.
    os.dup2(numbers[new], numbers[name])
    os.close(numbers[new])

def copy_and_shut(name):
    copies.append(os.dup(numbers[name]))
    os.close(numbers[name])

copies = []

def ask(poller, timeout):
    return sorted((names.get(fd, str(fd)), events) for fd, events in poller.poll(timeout))

def ask_often(poller, turns):
    for _ in range(turns):
        found = ask(poller, 0)
    return found

def poll_says(masks):
    poller = select.poll()
    for name, events in masks.items():
        poller.register(numbers[name], events)
    return sorted((names[fd], events) for fd, events in poller.poll(0))
"""


def words(answer):
    """[(name, mask)] as people read it."""
    parts = [f"{name}: {mask_in_words(events)}" for name, events in answer]
    return "; ".join(parts) if parts else "nothing"


def mask_in_words(events):
    known = [name for name in ANSWERS if events & getattr(select, f"POLL{name}")]
    return "|".join(known) or str(events)


def started(student):
    """A new EpollPoller, with the judge's helpers around it."""
    student.define(HELPERS)
    return student.new("EpollPoller", read=READ)


def connection(student, name):
    """The judge's end of a socketpair; the other end is known to the student's process by this name."""
    mine, theirs = socket.socketpair()
    student.call("keep", name, theirs, step=f"{name}: a connection")
    return mine


def file(student, name, path):
    """A file that is open for reading and writing, known to the student's process by this name."""
    with open(path, "w+b", buffering=0) as opened:
        what = path if path == os.devnull else "a file"
        student.call("keep", name, Fd(opened.fileno()), step=f"{name}: {what}")


def watch(student, poller, name, events, mistake):
    """register must succeed."""
    step = f"register({name}, {mask_in_words(events)})"
    call = student.call("watch", poller, name, events, raises=True, step=step, timeout=SECONDS, read=READ)
    student.should(call.exception is None, "watch it", f"it raised {call.exception}", mistake, READ)


def forget(student, poller, name, mistake):
    """unregister must succeed."""
    call = student.call("forget", poller, name, raises=True, step=f"unregister({name})", timeout=SECONDS, read=READ)
    student.should(call.exception is None, "forget it", f"it raised {call.exception}", mistake, READ)


def is_unknown(student, poller, name):
    """unregister must raise KeyError."""
    call = student.call("forget", poller, name, raises=True, step=f"unregister({name})", timeout=SECONDS, read=READ)
    student.should(
        call.exception is not None and "KeyError" in call.exception.bases,
        should="raise KeyError: it is not registered",
        but=f"it raised {call.exception}" if call.exception else "it returned",
        mistake="nobody keeps account of what is registered: poll raises KeyError, epoll raises OSError or nothing",
        read=READ,
    )


def says(student, poller, timeout, wanted, mistake, hangs=""):
    """One call of poll and what it must return; gives the Call."""
    call = student.call(
        "ask", poller, timeout, step=f"poll({timeout})", hangs=hangs or mistake, timeout=SECONDS, read=READ
    )
    wanted = sorted(wanted)
    student.should(call.value == wanted, f"say {words(wanted)}", f"it said {words(call.value)}", mistake, READ)
    return call


def test_it_says_what_poll_says(student):
    """It says what poll says, as often as it is asked."""
    poller = started(student)
    said, silent, roomy, half, gone, late = (
        connection(student, name) for name in ("said", "silent", "roomy", "half-closed", "gone", "late")
    )
    said.send(b"x")
    half.shutdown(socket.SHUT_WR)
    gone.close()
    masks = dict(
        zip(
            ("said", "silent", "roomy", "half-closed", "gone", "late"),
            (select.POLLIN, select.POLLIN, select.POLLIN | select.POLLOUT, select.POLLIN | select.POLLRDHUP, 0, 0),
            strict=True,
        )
    )
    for name, events in masks.items():
        watch(student, poller, name, events, "EPOLLRDHUP and the others are poll's numbers: hand them on as they are")
    for _ in range(2):
        wanted = student.call("poll_says", masks, step="select.poll() is asked about the same").value
        says(
            student,
            poller,
            0,
            wanted,
            "edge-triggered (EPOLLET) or EPOLLONESHOT: told once, where poll tells each time",
        )
    masks |= {"said": select.POLLOUT, "silent": 0, "late": select.POLLIN}
    late.send(b"x")
    student.step("somebody says something to late")
    for name in ("said", "silent", "late"):
        watch(student, poller, name, masks[name], "a number that is watched already: epoll wants modify, poll takes it")
    wanted = student.call("poll_says", masks, step="select.poll() is asked about the same").value
    says(student, poller, 0, wanted, "the first mask kept, although another one was given since")
    del silent, roomy


def test_it_sleeps_in_epoll(student):
    """It sleeps in epoll_wait, for milliseconds or for ever, and tells the kernel of each descriptor once."""
    poller = started(student)
    student.call("watch_idle", poller, IDLE, step=f"register {IDLE} idle connections", read=READ)
    mine = connection(student, "one")
    watch(student, poller, "one", select.POLLIN, "")
    call = says(student, poller, 300, [], "an answer made up", "milliseconds handed to epoll.poll, which takes seconds")
    student.should(
        call.seconds > 0.25,
        should="wait 300 ms when nothing is ready",
        but=f"it came back after {call.seconds * 1000:.0f} ms",
        mistake="the time not handed on, or divided too often: poll counts milliseconds, epoll.poll seconds",
        read=READ,
    )
    student.call("ask_often", poller, TURNS, step=f"poll(0), {TURNS} times", read=READ)
    pending = student.start("ask", poller, None, step="poll(None)")
    audit = student.sleeps(should="sleep until something is ready", mistake="no timeout taken for no time", read=READ)
    student.should(
        audit.own.waits_in.startswith("epoll_"),
        should="sleep in epoll_wait",
        but=f"it waits in {audit.own.waits_in}",
        mistake="poll or select underneath, which hand all descriptors to the kernel anew with each call",
        read=READ,
    )
    student.step("somebody says something to one")
    mine.send(b"x")
    found = pending.result(hangs="a wait that does not see what comes", read=READ).value
    student.should(found == [("one", select.POLLIN)], "say one: IN", f"it said {words(found)}", read=READ)
    told = sum(call.error is None for call in student.syscalls("epoll_ctl"))
    others = {call.name for call in student.syscalls("poll", "ppoll", "select", "pselect6")}
    student.should(
        told <= IDLE + 1 and not others,
        should="tell an epoll of each descriptor once, and need nothing but epoll_wait from then on",
        but=f"it told the kernel {told} times of {IDLE + 1} descriptors"
        f"{''.join(f', and called {name}' for name in sorted(others))}",
        mistake="a new epoll, or every descriptor registered anew, for each poll: the kernel keeps the set for you",
        read=READ,
    )


def test_a_regular_file(student):
    """A regular file is always ready, as poll says; epoll refuses it."""
    poller = started(student)
    both = select.POLLIN | select.POLLOUT
    refused = "EPERM raised or swallowed: epoll refuses what is always ready, and poll says that it is ready"
    file(student, "file", student.scratch / "some.txt")
    watch(student, poller, "file", select.POLLIN, refused)
    says(student, poller, None, [("file", select.POLLIN)], refused, refused)
    mine = connection(student, "one")
    mine.send(b"x")
    student.step("somebody says something to one")
    watch(student, poller, "one", select.POLLIN, "")
    file(student, "null", os.devnull)
    watch(student, poller, "null", both, refused)
    alone = "a file that is ready hides everybody else: ask epoll too, without waiting"
    wanted = [("file", select.POLLIN), ("null", both), ("one", select.POLLIN)]
    says(student, poller, None, wanted, alone, alone)
    forget(student, poller, "null", "a file unregistered from the epoll, which has never known it")
    watch(student, poller, "file", 0, refused)
    idle = "a file that is named although nothing was asked of it"
    says(student, poller, None, [("one", select.POLLIN)], idle, idle)
    forget(student, poller, "file", "a file unregistered from the epoll, which has never known it")
    is_unknown(student, poller, "file")


def test_a_number_given_out_again(student):
    """A number that means another file now is watched as what it means."""
    both = select.POLLIN | select.POLLOUT
    for old, new in (("a connection", "a connection"), ("a file", "a connection"), ("a connection", "a file")):
        poller = started(student)
        ours = [
            file(student, name, student.scratch / name) if what == "a file" else connection(student, name)
            for name, what in (("old", old), ("new", new))
        ]
        watch(student, poller, "old", both, "EPERM raised: poll takes a file, and says that it is ready")
        student.call("give_out_again", "old", "new", step="old is closed, and its number given out for new, called old")
        watch(
            student,
            poller,
            "old",
            select.POLLIN,
            "a list of our own believed, where the kernel has forgotten the number",
        )
        stale = "what the number meant before is still answered for"
        says(student, poller, 50, [("old", select.POLLIN)] if new == "a file" else [], stale)
        if new != "a file":
            ours[1].send(b"x")
            student.step("somebody says something to it")
            says(student, poller, 50, [("old", select.POLLIN)], stale)


def test_unregister(student):
    """What is unregistered is not named, and may be closed before or after."""
    poller = started(student)
    ours = {name: connection(student, name) for name in ("here", "closed", "reused", "next", "copied")}
    is_unknown(student, poller, "here")
    for name in ("here", "closed", "reused", "copied"):
        watch(student, poller, name, select.POLLIN, "")
    for sock in ours.values():
        sock.send(b"x")
    student.step("somebody says something to each")
    forget(student, poller, "here", "")
    is_unknown(student, poller, "here")
    gone = "EBADF or ENOENT raised: the kernel has forgotten it at its close, and that is what was wanted"
    student.call("shut", "closed", step="close(closed)")
    forget(student, poller, "closed", gone)
    student.call("give_out_again", "reused", "next", step="reused is closed, and its number given out for next")
    forget(student, poller, "reused", gone)
    call = student.call("watch", poller, "closed", 1, raises=True, step="register(closed, IN)", read=READ)
    student.should(
        call.exception is not None and call.exception.errno == errno.EBADF,
        should="raise OSError with EBADF for a descriptor that is closed",
        but=f"it raised {call.exception}" if call.exception else "it returned",
        mistake="every error of epoll_ctl caught, where only two of them are answers",
        read=READ,
    )
    forget(student, poller, "copied", "")
    student.call("copy_and_shut", "copied", step="copied is closed; somebody else has a copy of it, as a child has")
    student.start("ask", poller, None, step="poll(None)")
    student.sleeps(
        should="sleep: nobody is registered any more",
        mistake="forgotten by us, but not by the kernel: epoll watches the open file, as long as a copy is open",
        read=READ,
    )


def test_close(student):
    """close closes the epoll, and nothing else."""
    poller = started(student)
    connection(student, "one")
    watch(student, poller, "one", select.POLLIN, "")
    before = student.audit().own.descriptors
    closed = poller.call("close", read=READ).audit.own.descriptors
    lost = {number: what for number, what in before.items() if number not in closed}
    student.should(
        len(lost) == 1 and "eventpoll" in next(iter(lost.values())),
        should="close one descriptor, its epoll",
        but=f"it closed {', '.join(lost.values()) or 'nothing'}",
        mistake="an epoll is a descriptor like any other, and leaks like one",
        read=READ,
    )
    poller.call("close", read=READ)

"""4.1 predict what poll says: each prediction against a run of the program, made here and now."""

import subprocess
import sys

import pytest

from chatlab.launch.program import clean_environment

pytestmark = pytest.mark.exercise("4.1")

PROGRAM = """\
import resource
import select
import socket

listener = socket.create_server(("127.0.0.1", 0))
clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
poller = select.poll()
poller.register(listener, select.POLLIN)
print(len(poller.poll()))  # READY

first, _ = listener.accept()
poller.unregister(listener)
poller.register(first, select.POLLIN | select.POLLOUT)
print(sum(len(poller.poll(10)) for _ in range(20)))  # IDLE_WAKE_UPS

reader, connection = socket.socketpair()
connection.setblocking(False)

def send(data):
    try:
        return connection.send(data)
    except BlockingIOError:  # EAGAIN: well, then not
        return 0

while send(b"x"):
    pass
for number in range(10):
    if number == 4:
        reader.recv(65536)  # all of it: the buffers hold some hundreds of bytes sent one by one
    send(b"line %d\\n" % number)
print(reader.recv(65536).count(b"\\n"))  # ARRIVED

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no new descriptor for this process
poller.unregister(first)
poller.register(listener, select.POLLIN)
woken = 0
for _ in range(7):
    woken += len(poller.poll(10))
    try:
        listener.accept()
    except OSError:  # EMFILE
        pass
print(woken)  # WAKE_UPS_AT_THE_LIMIT
"""
NUMBERS = ("READY", "IDLE_WAKE_UPS", "ARRIVED", "WAKE_UPS_AT_THE_LIMIT")


def real_numbers():
    """What a run of the program prints, by the constants' names."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=clean_environment(), capture_output=True, text=True, check=True
    )
    return dict(zip(NUMBERS, map(int, done.stdout.split()), strict=True))


def compare(student, name, what, *, mistakes, otherwise, read):
    """One prediction beside what a run shows. The number itself is left to be found.

    mistakes: the likely one for each number that somebody may think of; otherwise: for any other number.
    """
    predicted = student.get(name)
    student.should(type(predicted) is int, should=f"set {name} to a whole number", but=f"it is {predicted!r}")
    student.step(f"run the program, and look at {what}")
    real = real_numbers()[name]
    student.should(
        predicted == real,
        should=f"be {what}",
        but=f"the run has {'more' if real > predicted else 'fewer'} than {predicted}",
        mistake=mistakes.get(predicted, otherwise),
        read=read,
    )


def test_ready(student):
    """How many descriptors poll names."""
    compare(
        student,
        "READY",
        "how many descriptors the first poll names",
        mistakes={
            3: "connections counted: poll names descriptors, and all three wait at the one listener",
            4: "the clients' own descriptors counted: nobody has asked poll about them",
        },
        otherwise="a descriptor that poll was not asked about, or the listener left out: newcomers are its input",
        read="Accept until there is nobody",
    )


def test_idle_wake_ups(student):
    """How often a poll with POLLOUT left on wakes up."""
    compare(
        student,
        "IDLE_WAKE_UPS",
        "how many of the 20 polls say something about an idle connection",
        mistakes={
            0: "POLLOUT taken for an answer to something that was sent: it is there while the send buffer has room",
            1: "POLLOUT taken for news, told once: poll tells what is so, each time that it is asked",
        },
        otherwise="a poll that tells sometimes: it tells what is so, each time that it is asked",
        read="The output queue",
    )


def test_arrived(student):
    """How many lines arrive when EAGAIN is ignored."""
    compare(
        student,
        "ARRIVED",
        "how many of the 10 lines arrive",
        mistakes={
            10: "a connection that loses nothing is not a program that loses nothing: what send does not take is yours",
            0: "a full buffer taken for the end: as soon as the reader has read there is room again",
            4: "the lines before the reader reads: it is those that find no room",
            5: "line 4 left out: the reader reads before it is sent",
        },
        otherwise="EAGAIN overlooked: which lines find a buffer with room? Count from line 0",
        read="The output queue",
    )


def test_wake_ups_at_the_limit(student):
    """How often poll tells of a newcomer for whom there is no descriptor."""
    compare(
        student,
        "WAKE_UPS_AT_THE_LIMIT",
        "how many of the 7 polls say something of the listener",
        mistakes={
            0: "newcomers who are gone for want of a descriptor: they wait in the kernel, connected",
            1: "the listener's readiness taken for news, told once: poll tells what is so, each time that it is asked",
            2: "a failed accept that takes somebody out of the backlog: it takes nobody, and poll says the same again",
            3: "the accepted one counted too, and each only once: a failed accept takes nobody out of the backlog",
        },
        otherwise="a failed accept that changes something: it takes nobody, and poll says the same again",
        read="Accept until there is nobody",
    )

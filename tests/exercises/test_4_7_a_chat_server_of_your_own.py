"""4.7 a chat server of your own: the pieces put together, held against the conformance suite's quick cases and more."""

import socket
import time

import pytest

from chatlab.load import LoadError
from tests.conformance.room import Fault, Room
from tests.conformance.scenarios import SCENARIOS

pytestmark = pytest.mark.exercise("4.7")
READ = "One turn of the loop"
PIECES = "; if 4.2, 4.3, 4.4, 4.5 or 4.6 fails too, begin there"
WAIT_SECONDS = 3.0  # for one answer of the server
IDLE_SECONDS = 0.25


class Serving:
    """A server at work in the student's process. The listener is the judge's, who can reach no other one there."""

    def __init__(self, student, max_clients=100, queue_bytes=1 << 20, stall_seconds=1.0, half_close_seconds=30.0):
        self.student = student
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        limits = (max_clients, queue_bytes, stall_seconds, half_close_seconds)
        self.pending = student.start("serve", self.listener, *limits, step=f"serve(a listener, {str(limits)[1:]}")
        student.until(
            lambda audit: self.pending.done or audit.own.state == "S",
            should="sleep in poll until somebody comes",
            mistake="a poll that does not wait, or a listener that is asked for more than POLLIN",
            read=READ,
        )

    def room(self):
        """A room of the conformance suite with this server in it."""
        return Room(self.listener.getsockname(), timeout=WAIT_SECONDS)

    def hold(self, *names, read=READ):
        """Run these cases of the conformance suite, one after the other."""
        for name in names:
            self.student.step(SCENARIOS[name].title)
            with self.room() as room:
                self.watch(lambda room=room, name=name: SCENARIOS[name].run(room), read)

    def watch(self, act, read):
        """Do something with clients. A fault fails the check, in its own words."""
        try:
            act()
        except Fault as fault:
            self.should(False, should=fault.should, but=fault.but, mistake=fault.mistake, read=read)
        except LoadError as error:
            self.should(False, should="serve its clients", but=str(error), read=read)
        self.should(not self.pending.done, should="go on serving", read=read)

    def should(self, ok, should, but="", mistake="", read=READ):
        """As student.should: but an exception explains more, and the mistake may be in one of the pieces."""
        if not ok and self.pending.done:
            call = self.pending.result(raises=True)
            should = "serve, and never return"
            but = f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}"
            mistake = "an error of one client's connection that ends the room, or a turn that is the last"
        self.student.should(ok, should=should, but=but, mistake=(mistake + PIECES).removeprefix("; "), read=read)

    def polls(self):
        """How often the server has slept, or tried to."""
        return len(self.student.syscalls("poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait"))

    def sleeps(self, when, mistake):
        """An idle stretch, in which poll must not wake up again and again."""
        self.student.until(
            lambda audit: self.pending.done or audit.own.state == "S",
            should=f"sleep {when}",
            mistake=mistake + PIECES,
            read=READ,
        )
        before = self.polls()
        time.sleep(IDLE_SECONDS)
        woken = self.polls() - before
        self.should(
            woken <= 5,
            should=f"sleep {when}",
            but=f"poll was called {woken} times in {IDLE_SECONDS} s",
            mistake=mistake,
        )


def test_lines(student):
    """Lines go to everyone but their sender, whole and in order."""
    Serving(student).hold("byte_at_a_time", "many_lines_in_one_segment", "not_echoed", read="Lines, not chunks")

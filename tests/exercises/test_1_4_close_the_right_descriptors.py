"""The judge of exercise 1.4: a client outside, and the descriptors of parent and child."""

import os
import socket
from contextlib import contextmanager

import pytest

from chatlab.judge import Name

pytestmark = pytest.mark.exercise("1.4")

HELPERS = """
import os

def _shout(connection):
    while data := connection.recv(100):
        connection.sendall(data.upper())

def _raise(connection):
    connection.recv(100)
    raise ValueError("oops")

def _wait_for(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
SECONDS = 1.5
WAITS = "a parent that waits for its child, or serves the client itself"
REFERENCE_COUNTS = "Reference counts"


@contextmanager
def listening(student):
    """A listener of the judge's, for the student to accept from."""
    student.define(HELPERS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@contextmanager
def connected(student, listener):
    with socket.create_connection(listener.getsockname()) as client:
        student.step("a client connects")
        yield client


def serve(student, listener, function: str = "_shout"):
    """Call serve_in_child for one client and return the Call; its value is the pid of a child."""
    call = student.call(
        "serve_in_child",
        listener,
        Name(function),
        step=f"serve_in_child(listener, {function.lstrip('_')})",
        hangs=WAITS,
        timeout=SECONDS,
        read="What fork returns",
    )
    student.should(
        call.value in call.audit.children,
        should="return the pid of the child, which the caller will reap",
        but=lambda: f"it returned {call.value!r}, and the children are {call.audit.children}",
        mistake="a child that is reaped here" if not call.audit.children else "another number than the child's pid",
        read="What fork returns",
    )
    return call


def exchange(student, client) -> None:
    """The client sends a word and must have its answer: then the child is surely serving."""
    word = "".join(student.random.sample("abcdefghijklmnopqrstuvwxyz", 8))
    student.step(f"the client sends {word!r}")
    client.sendall(word.encode())
    student.receives(
        client,
        word.upper().encode(),
        should="serve the client in the child",
        mistake="a connection that is closed before it is served, or ended for everybody by shutdown",
        read=REFERENCE_COUNTS,
    )


def test_the_child_serves_while_the_parent_goes_on(student):
    """The child serves, and the parent goes on."""
    with listening(student) as listener, connected(student, listener) as client:
        serve(student, listener)
        exchange(student, client)


def test_the_parent_does_not_keep_the_connection(student):
    """The parent does not keep the connection."""
    with listening(student) as listener, connected(student, listener):
        call = serve(student, listener)
        kept = [number for number, name in call.audit.opened.items() if name.startswith("socket:")]
        student.should(
            not kept,
            should="leave the parent without a descriptor of the connection: count 1, the child's",
            but=f"the parent still holds it, as descriptor {', '.join(map(str, kept))}: count 2",
            mistake="the parent's copy is not closed",
            read=REFERENCE_COUNTS,
        )
        student.should(
            not call.unclosed,
            should="close the parent's copy of the connection by a close",
            but="Python's garbage collector had to do it (ResourceWarning: unclosed socket)",
            mistake="the parent's copy is not closed, which in C would leave it open for ever",
            read=REFERENCE_COUNTS,
        )


def test_the_child_does_not_keep_the_listener(student):
    """The child does not keep the listener."""
    with listening(student) as listener, connected(student, listener) as client:
        call = serve(student, listener)
        exchange(student, client)
        child = student.audit().processes[call.value]
        student.should(
            name_of(listener) not in child.descriptors.values(),
            should="serve without the listener",
            but=f"process {call.value}, the child, still holds the listener",
            mistake="the child's copy of the listener is not closed: the port stays taken when the parent has gone",
            read=REFERENCE_COUNTS,
        )


def test_the_client_sees_end_of_file(student):
    """The client sees end of file when the child has served it."""
    with listening(student) as listener, connected(student, listener) as client:
        call = serve(student, listener)
        client.shutdown(socket.SHUT_WR)
        student.step("the client has no more to send: shout returns")
        student.receives_end(
            client,
            mistake="a descriptor of the connection that is still open, in the parent or in a child that runs on",
            read=REFERENCE_COUNTS,
        )
        status = student.call("_wait_for", call.value, step="the caller waits for the child").value
        student.should(
            status == 0,
            should="let the child leave with status 0",
            but=f"its status is {status}",
            mistake="a child that runs on, or an error in it (is something closed that is still needed?)",
            read="Leave by _exit",
        )


def test_an_exception_ends_the_child_with_status_1(student):
    """An exception in serve ends the child with status 1."""
    with listening(student) as listener, connected(student, listener) as client:
        call = serve(student, listener, "_raise")
        client.sendall(b"x")
        student.step("the client sends a byte, and serve raises ValueError")
        status = student.call("_wait_for", call.value, step="the caller waits for the child").value
        student.should(
            status == 1,
            should="let the child leave with status 1",
            but=f"its status is {status}",
            mistake="os._exit(0) in a `finally`, whatever has happened"
            if status == 0
            else "another status than 1 for an exception",
            read="Leave by _exit",
        )


def test_the_listener_serves_again(student):
    """The listener serves a second client while the first is served."""
    with listening(student) as listener, connected(student, listener) as first:
        call = serve(student, listener)
        student.should(
            name_of(listener) in call.audit.own.descriptors.values(),
            should="leave the listener open in the parent, to accept again",
            but="the parent has closed it",
            mistake="the listener closed in the parent, not in the child",
            read=REFERENCE_COUNTS,
        )
        with connected(student, listener) as second:
            serve(student, listener)
            exchange(student, second)
            exchange(student, first)


def name_of(listener) -> str:
    """What /proc/PID/fd says of a listener: the same in every process that holds it."""
    return f"socket:[{os.fstat(listener.fileno()).st_ino}]"

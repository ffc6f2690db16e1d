"""4.4 accept until EAGAIN: everybody at once, nobody lost, and no spinning when descriptors run out."""

import errno
import os
import socket

import pytest

pytestmark = pytest.mark.exercise("4.4")
READ = "Accept until there is nobody"
SECONDS = 1.5
ACCEPTING = ("accept", "accept4")

HELPERS = """
import fcntl, resource

def leave_descriptors(count):
    # As many numbers below the limit are free. The lowest free one is always taken first: open(2).
    number = 0
    while count:
        try:
            fcntl.fcntl(number, fcntl.F_GETFD)
        except OSError:
            count -= 1
        number += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

def allow_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

def accept_and_look(listener, room=None):
    if room is not None:
        leave_descriptors(room)
    try:
        result = accept_all(listener)
    finally:
        allow_descriptors()
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], list)):
        return repr(result)[:100]
    connections, watch = result
    peers = [connection.getpeername() for connection in connections]
    modes = [connection.getblocking() for connection in connections]
    delays = [connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for connection in connections]
    kept.extend(connections)
    return peers, watch, modes, delays

import socket
kept = []
"""


def crowd(student, count):
    """A listener, and clients that wait at it."""
    student.define(HELPERS)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(count)]
    student.step(f"{count} clients connect")
    return listener, clients


def accept(student, listener, mistake, room=None):
    """One call of accept_all: (the clients' addresses in order, watch, and how the connections are set).

    room: how many descriptors are left to the process meanwhile.
    """
    call = student.call(
        "accept_and_look",
        listener,
        room,
        raises=True,
        step="accept_all(listener)",
        hangs="a loop that goes on although accept has failed: with no descriptor it fails for ever",
        timeout=SECONDS,
        read=READ,
    )
    student.should(
        call.exception is None, should="return", but=f"it raised {call.exception}", mistake=mistake, read=READ
    )
    student.should(
        isinstance(call.value, tuple),
        should="return (connections, watch), a list and True or False",
        but=f"it returned {call.value}",
        read=READ,
    )
    return call.value


def names(clients):
    return [client.getsockname() for client in clients]


def returns(student, found, clients, watch, mistake):
    """What one call must give."""
    student.should(
        found[0] == names(clients),
        should=f"give {len(clients)} connections, in the order in which they came",
        but=f"it gave {len(found[0])}" if len(found[0]) != len(clients) else "it gave them in another order",
        mistake=mistake,
        read=READ,
    )
    student.should(
        found[1] is watch,
        should=f"say {watch}: "
        + (
            "poll will tell of the next newcomer" if watch else "no descriptor is left, and the listener stays readable"
        ),
        but=f"it said {found[1]!r}",
        mistake="no descriptor taken for nobody there: the loop polls on, and spins"
        if not watch
        else "EAGAIN taken for a failure: it is how accept says that nobody waits any more",
        read=READ,
    )


def test_all_who_wait(student):
    """All who wait are accepted in one call, ready for the loop."""
    listener, clients = crowd(student, student.random.randrange(4, 9))
    found = accept(student, listener, "EAGAIN not caught: it is how accept says that nobody waits any more")
    returns(student, found, clients, True, "one accept for each time that the listener is ready, while others wait on")
    student.should(
        not any(found[2]) and all(found[3]),
        should="make each connection non-blocking, and set TCP_NODELAY",
        but="some connection is blocking" if any(found[2]) else "TCP_NODELAY is not set",
        mistake="a connection is blocking, whatever its listener is, and without TCP_NODELAY short lines wait for ACKs",
        read=READ,
    )
    found = accept(student, listener, "EAGAIN not caught: nobody waits, and that is no error")
    returns(student, found, [], True, "somebody made up")


def test_no_descriptor_left(student):
    """When descriptors run out the accepted are kept, the others wait, and it is told."""
    listener, clients = crowd(student, 5)
    room = student.random.randrange(2, 4)
    student.step(f"only {room} more descriptors are allowed (RLIMIT_NOFILE)")
    found = accept(student, listener, "EMFILE raised, and those who were accepted already are lost", room)
    returns(student, found, clients[:room], False, "those who were accepted before EMFILE are lost")
    calls = [call for call in student.syscalls(*ACCEPTING) if call.error == "EMFILE"]
    student.should(
        len(calls) == 1, should="try once, and leave it", but=f"accept failed {len(calls)} times with EMFILE", read=READ
    )
    student.step("descriptors are allowed again")
    found = accept(student, listener, "a listener that is closed because of one EMFILE")
    returns(student, found, clients[room:], True, "newcomers turned away: they wait in the kernel, and lose nothing")


@pytest.mark.inject("accept4", error="ECONNABORTED", when="2")
def test_one_who_has_left(student):
    """Somebody who has left before accept came to him costs nobody else."""
    listener, clients = crowd(student, 3)
    student.step("the second accept fails with ECONNABORTED")
    found = accept(student, listener, "ECONNABORTED raised: it concerns one who has gone, and others still wait")
    returns(
        student, found, clients, True, "ECONNABORTED taken for the end: it concerns one who has gone, others wait on"
    )


@pytest.mark.inject("accept4", error="ENOMEM", when="2")
def test_no_memory_left(student):
    """No memory for a connection is like no descriptor."""
    listener, clients = crowd(student, 3)
    student.step("the second accept fails with ENOMEM")
    found = accept(
        student, listener, "only EMFILE thought of: ENFILE, ENOBUFS and ENOMEM leave the listener readable too"
    )
    returns(student, found, clients[:1], False, "ENOMEM passed over as if it concerned one newcomer")


def test_another_error_is_raised(student):
    """Any other error is raised: here, a socket that does not listen."""
    student.define(HELPERS)
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    bound.setblocking(False)
    call = student.call(
        "accept_and_look",
        bound,
        raises=True,
        step="accept_all(a socket that does not listen)",
        hangs="every error passed over: a listener that is broken is asked for ever",
        timeout=SECONDS,
        read=READ,
    )
    student.should(
        call.exception is not None and call.exception.errno == errno.EINVAL,
        should=f"raise OSError with EINVAL ({os.strerror(errno.EINVAL)})",
        but=f"it raised {call.exception}" if call.exception else f"it returned {call.value[:2]!r}",
        mistake="every OSError taken for no descriptor, or for nobody there: a mistake of your own is never seen then",
        read=READ,
    )

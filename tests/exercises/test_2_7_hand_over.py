"""2.7 hand over a connection: a descriptor travels, and leaves nothing behind."""

import array
import os
import socket

import pytest

pytestmark = pytest.mark.exercise("2.7")
READ = "Handing over a descriptor"

HELPERS = """
import os

def receive_and_keep(channel):
    global received
    received = receive_connection(channel)
    return received

def receive_look_and_close(channel):
    connection = receive_connection(channel)
    inheritable = os.get_inheritable(connection.fileno())
    connection.close()
    return inheritable
"""


def tcp_pair():
    """A client and the connection that a server accepted from it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


def hand(channel, *connections):
    """Send descriptors as send_connection should, and close them here."""
    numbers = array.array("i", [connection.fileno() for connection in connections])
    channel.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
    for connection in connections:
        connection.close()


def arrived(channel):
    """The bytes and the descriptors that are in a channel now."""
    try:
        data, ancillary, _, _ = channel.recvmsg(100, socket.CMSG_SPACE(16), socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b"", []
    return data, [number for _, _, packed in ancillary for number in array.array("i", packed)]


def test_it_is_sent_and_closed(student):
    """The connection is sent, and the sender keeps no copy."""
    client, connection = tcp_pair()
    mine, theirs = socket.socketpair()
    call = student.call(
        "send_connection", theirs, connection, step="send_connection(channel, an accepted TCP connection)", read=READ
    )
    connection.close()
    data, numbers = arrived(mine)
    student.should(
        len(numbers) == 1,
        should="send one message with one descriptor",
        but=f"{len(data)} byte(s) came, and {len(numbers)} descriptor(s)",
        mistake="no byte to carry it: on a stream an empty message is no message"
        if not data
        else "its number sent as data",
        read=READ,
    )
    client.sendall(b"who is there?")
    with socket.socket(fileno=numbers[0]) as received:
        student.should(
            os.fstat(received.fileno()).st_mode and received.getpeername() == client.getsockname(),
            should="send the connection that it was given",
            but="another descriptor came",
            read=READ,
        )
    student.should(
        any(link.startswith("socket") for link in call.audit.closed.values()),
        should="close the sender's copy of the connection",
        but="the sender still holds it, so the client would never see end of file",
        mistake="a copy kept: sending a descriptor is like dup, not like moving it",
        read="Who closes what",
    )


def test_it_is_received(student):
    """What is received is the connection, alive."""
    client, connection = tcp_pair()
    mine, theirs = socket.socketpair()
    hand(mine, connection)
    student.define(HELPERS)
    call = student.call(
        "receive_and_keep", theirs, step="receive_connection(channel)", hangs="a second recv", read=READ
    )
    student.should(
        isinstance(call.value, socket.socket),
        should="return a socket",
        but=f"it returned {call.value!r}",
        mistake="the descriptor's number returned, and no socket made of it: socket.socket(fileno=…)",
        read=READ,
    )
    words = student.random.randbytes(10)
    call.value.sendall(words)
    student.receives(
        client, words, should="be a connection to the client", mistake="another descriptor returned", read=READ
    )


def test_nothing_is_left_behind(student):
    """It is closed on exec, and closing it leaves nothing."""
    client, connection = tcp_pair()
    mine, theirs = socket.socketpair()
    hand(mine, connection)
    student.define(HELPERS)
    call = student.call(
        "receive_look_and_close", theirs, step="receive_connection(channel), close what came", hangs="a second recv"
    )
    student.should(
        not call.audit.opened,
        should="leave no descriptor behind",
        but=f"left open: {', '.join(call.audit.opened.values())}",
        mistake="a duplicate: socket.fromfd makes a second descriptor, socket.socket(fileno=…) takes the one that came",
        read=READ,
    )
    student.should(
        call.value is False,
        should="make it close-on-exec, so that a program that is executed does not inherit it",
        but="it is inheritable",
        mistake="recvmsg without MSG_CMSG_CLOEXEC; socket.recv_fds ignores its flags (cpython issue 107898)",
        read=READ,
    )
    del client


def test_a_message_without_exactly_one(student):
    """A message with no descriptor, or with two, is an error, and leaves none open."""
    for count in (0, 2):
        mine, theirs = socket.socketpair()
        pairs = [tcp_pair() for _ in range(count)]
        if count:
            hand(mine, *(connection for _, connection in pairs))
        else:
            mine.send(b"!")
        call = student.call(
            "receive_connection",
            theirs,
            raises=True,
            step=f"receive_connection, {count} descriptors come",
            hangs="a second recv",
        )
        student.should(
            call.exception is not None and "NoConnection" in call.exception.bases,
            should="raise NoConnection",
            but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
            mistake="the first descriptor taken without counting: there may be none, or more",
            read=READ,
        )
        student.should(
            not call.audit.opened,
            should="close every descriptor that came",
            but=f"left open: {', '.join(call.audit.opened.values())}",
            mistake="descriptors that were received and forgotten: they are open all the same",
            read=READ,
        )


def test_the_channel_ends(student):
    """End of file gives None."""
    mine, theirs = socket.socketpair()
    mine.close()
    call = student.call(
        "receive_connection", theirs, raises=True, step="close the other end; receive_connection(channel)"
    )
    student.should(
        call.exception is None and call.value is None,
        should="return None at end of file",
        but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
        mistake="the end of the channel taken for a message without a descriptor",
        read="When end of file comes",
    )

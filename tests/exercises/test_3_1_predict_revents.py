"""3.1 predict revents: each prediction against what poll says of the real situation, made here and now."""

import os
import select
import socket
import struct
import tempfile

import pytest

pytestmark = pytest.mark.exercise("3.1")
READ = "What poll says"
NAMES = ("IN", "OUT", "RDHUP", "HUP", "ERR", "NVAL")
SETTLE_MS = 5000


def connection():
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]


def reported(descriptor, asked, timeout_ms):
    """The mask that poll reports for one descriptor."""
    poller = select.poll()
    poller.register(descriptor, asked)
    found = poller.poll(timeout_ms)
    return found[0][1] if found else 0


def revents(descriptor, asked=select.POLLIN | select.POLLRDHUP):
    """The names of the events that poll reports now."""
    mask = reported(descriptor, asked, 0)
    return {name for name in NAMES if mask & getattr(select, f"POLL{name}")}


def settle(descriptor, event):
    """Wait until what the peer did has arrived."""
    assert reported(descriptor, event, SETTLE_MS), "the situation did not come about"


def fin_after_data():
    ours, peer = connection()
    peer.sendall(b"last words\n")
    peer.close()
    with ours:
        settle(ours, select.POLLRDHUP)
        return revents(ours)


def reset_after_data():
    ours, peer = connection()
    peer.sendall(b"last words\n")
    settle(ours, select.POLLIN)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close resets: socket(7)
    peer.close()
    with ours:
        settle(ours, select.POLLRDHUP)
        return revents(ours)


def half_closed_by_us():
    ours, peer = connection()
    with ours, peer:
        ours.shutdown(socket.SHUT_WR)
        peer.recv(1)
        return revents(ours)


def never_connected():
    with socket.socket() as sock:
        return revents(sock)


def refused():
    with socket.socket() as nobody, socket.socket() as sock:
        nobody.bind(("127.0.0.1", 0))  # bound, and not listening
        sock.setblocking(False)
        sock.connect_ex(nobody.getsockname())
        settle(sock, select.POLLOUT)
        return revents(sock, select.POLLOUT)


def pipe_closed(data=b""):
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    found = revents(reading)
    os.close(reading)
    return found


def file_at_its_end():
    with tempfile.TemporaryFile() as file:
        file.write(b"a line\n")
        file.seek(0)
        file.read()
        return revents(file)


def closed_descriptor():
    return revents(os.sysconf("SC_OPEN_MAX") - 1)


ALWAYS = "ERR, HUP and NVAL are reported without being asked for, OUT and RDHUP only when asked for"
UNREAD = "what has come can still be read, and poll says so beside the end"
PIPE = "a pipe taken for a socket: only a socket has RDHUP, and a pipe has IN only while something is in it"


def compare(student, name, situation, mistake):
    """Fail the check when a prediction is not what a real poll reports. The answer itself is left to be found."""
    predicted = student.get(name)
    if not isinstance(predicted, str) or not set(predicted.split()) <= set(NAMES):
        student.should(
            False,
            should=f"set {name} to names of events, such as 'IN RDHUP', or to ''",
            but=f"it is {predicted!r}",
            mistake=f"another name than {', '.join(NAMES)}",
            read=READ,
        )
    student.step(f"make the situation {name}, and poll")
    real, guessed = situation(), set(predicted.split())
    missing = len(real - guessed)
    parts = [f"{missing} event{'s' * (missing > 1)} that it reports missing"] if missing else []
    parts += [f"{', '.join(sorted(guessed - real))} not reported"] if guessed - real else []
    student.should(
        real == guessed,
        should="name exactly the events that poll reports",
        but=f"it is {predicted!r}: {', and '.join(parts)}",
        mistake=mistake,
        read=READ,
    )


def test_connections(student):
    """A connection's end, its reset, and our own half-close."""
    compare(student, "FIN_AFTER_DATA", fin_after_data, f"{UNREAD}; and HUP needs the end of both halves")
    compare(student, "RESET_AFTER_DATA", reset_after_data, f"a reset taken for a FIN, or its victim for lost: {UNREAD}")
    compare(student, "HALF_CLOSED_BY_US", half_closed_by_us, "our own half-close taken for the peer's")


def test_no_connection(student):
    """A socket that is not connected, and a number that is no descriptor."""
    compare(
        student, "NEVER_CONNECTED", never_connected, f"a socket with nothing to say has ended both halves: {ALWAYS}"
    )
    compare(
        student,
        "REFUSED",
        refused,
        f"a refusal taken for silence, or for readiness alone: the attempt is over, by an error. {ALWAYS}",
    )
    compare(student, "CLOSED_DESCRIPTOR", closed_descriptor, f"silence, or an exception, expected of poll: {ALWAYS}")


def test_pipes_and_files(student):
    """The end of a pipe, and the end of a file."""
    compare(student, "PIPE_CLOSED", pipe_closed, PIPE)
    compare(student, "PIPE_CLOSED_WITH_DATA", lambda: pipe_closed(b"a line\n"), PIPE)
    compare(student, "FILE_AT_ITS_END", file_at_its_end, "a file taken for a pipe: a read of it never waits")

"""2.5 frame messages by length: whole payloads out of a stream, however it is cut."""

import select
import socket
import struct

import pytest

pytestmark = pytest.mark.exercise("2.5")
READ = "Three cures"
LIMIT = 1000

HELPERS = """
def feed_each(limit, pieces):
    reader = FrameReader(limit)
    return [reader.feed(piece) for piece in pieces]

def feed_and_end(limit, data):
    reader = FrameReader(limit)
    frames = reader.feed(data)
    reader.end()
    return frames
"""


def frame(payload):
    """A payload as it goes over the wire."""
    return struct.pack("!I", len(payload)) + payload


def payloads(student, count):
    """Random payloads, an empty one among them."""
    sizes = [0, *(student.random.randrange(1, 60) for _ in range(count - 1))]
    student.random.shuffle(sizes)
    return [student.random.randbytes(size) for size in sizes]


def taken(student, sock, pending, size):
    """What a call sends, up to size bytes, until it has returned and nothing more is there."""
    got = bytearray()
    while len(got) < size and student.remaining() > 0:
        if select.select([sock], [], [], 0.02)[0]:
            got += sock.recv(1 << 18)
        elif pending.done and not select.select([sock], [], [], 0)[0]:
            break
    return bytes(got)


def waits_for_room(process):
    """Whether a process sleeps in poll or its like; where /proc does not say what it sleeps in, whether it sleeps."""
    return process.state == "S" and (
        not process.waits_in or any(name in process.waits_in for name in ("poll", "select"))
    )


def test_a_frame_on_the_wire(student):
    """A frame is four bytes of length, big-endian, and the payload."""
    mine, theirs = socket.socketpair()
    for payload in (student.random.randbytes(student.random.randrange(1, 60)), b""):
        student.call("send_frame", theirs, payload, hangs="a send that waits although there is room")
        expected = frame(payload)
        got = mine.recv(4096, socket.MSG_DONTWAIT) if select.select([mine], [], [], 0)[0] else b""
        student.should(
            got == expected,
            should=f"send {expected[:4]!r} and the {len(payload)} bytes",
            but=f"it sent {got!r}",
            mistake='another byte order, or a length that counts the prefix too: struct.pack("!I", len(payload))',
            read=READ,
        )


def test_a_frame_larger_than_the_buffers(student):
    """A non-blocking send of more than the buffers hold is finished, without spinning."""
    payload = student.random.randbytes(student.random.randrange(500_000, 800_000))
    mine, theirs = socket.socketpair()
    theirs.setblocking(False)
    pending = student.start("send_frame", theirs, payload, step="send_frame(a non-blocking socket, a large payload)")
    student.until(
        lambda audit: pending.done or waits_for_room(audit.own),
        should="wait in poll or select while there is no room",
        mistake="a loop around send that spins on EAGAIN, or a socket made blocking, for everyone who holds a copy",
        read="Buffers",
    )
    got = taken(student, mine, pending, len(payload) + 4)
    call = pending.result(raises=True, hangs="waiting for room that is there")
    student.should(
        call.exception is None and got == frame(payload),
        should=f"send all {len(payload) + 4} bytes of the frame",
        but=f"{len(got)} bytes came" + (f", and it raised {call.exception}" if call.exception else ""),
        mistake="a send whose result is not looked at, or a sendall, which on a non-blocking socket gives up half-way",
        read="Buffers",
    )


def test_one_byte_at_a_time(student):
    """Frames that come byte by byte are put together."""
    student.define(HELPERS)
    wanted = payloads(student, 4)
    stream = b"".join(map(frame, wanted))
    call = student.call(
        "feed_each", LIMIT, [stream[i : i + 1] for i in range(len(stream))], step="feed 4 frames, a byte at a time"
    )
    got = [payload for frames in call.value for payload in frames or ()]
    student.should(
        got == wanted,
        should=f"give 4 payloads, of {', '.join(str(len(payload)) for payload in wanted)} bytes",
        but=f"it gave {len(got)}, of {', '.join(str(len(payload)) for payload in got) or 'no'} bytes",
        mistake="bytes of an unfinished frame thrown away between two feeds, or an empty payload lost",
        read=READ,
    )


def test_many_frames_at_once(student):
    """Many frames in one piece all come out, and the rest is kept."""
    student.define(HELPERS)
    wanted = payloads(student, 6)
    stream = b"".join(map(frame, wanted))
    cut = len(stream) - student.random.randrange(1, 4 + len(wanted[-1]))
    call = student.call("feed_each", LIMIT, [stream[:cut], stream[cut:]], step="feed 5 frames and a part of the sixth")
    student.should(
        call.value[0] == wanted[:5],
        should="give the 5 payloads that are whole",
        but=f"it gave {len(call.value[0] or ())}",
        mistake="one frame for each feed, although several may be whole",
        read=READ,
    )
    student.step("feed the rest")
    student.should(
        call.value[1] == wanted[5:],
        should="give the sixth payload",
        but=f"it gave {call.value[1]!r}",
        mistake="the bytes of an unfinished frame thrown away with the finished ones",
        read=READ,
    )


def test_a_hostile_length(student):
    """A length beyond the limit is refused before anything is waited for."""
    student.define(HELPERS)
    limit = student.random.randrange(100, 1000)
    whole = student.random.randbytes(limit)
    call = student.call("feed_each", limit, [frame(whole)], raises=True, step=f"feed a frame of {limit}, the limit")
    student.should(
        call.exception is None and call.value == [[whole]],
        should=f"give a payload of {limit} bytes: that much is allowed",
        but=f"it raised {call.exception}" if call.exception else "it gave something else",
        mistake="a limit that is one byte too small: > and >=, or the prefix counted too",
        read=READ,
    )
    length = student.random.choice([limit + 1, 2**32 - 1])
    call = student.call(
        "feed_each",
        limit,
        [struct.pack("!I", length)],
        raises=True,
        step=f"feed only a prefix that says {length}, to a FrameReader({limit})",
    )
    student.should(
        call.exception is not None and "FrameTooLong" in call.exception.bases,
        should="raise FrameTooLong at once",
        but=f"it raised {call.exception}" if call.exception else "it waits for the payload",
        mistake="a limit looked at only when the frame is whole: by then the memory is taken",
        read=READ,
    )


def test_the_end_in_the_middle(student):
    """An end in the middle of a frame is an error, between frames it is none."""
    student.define(HELPERS)
    payload = student.random.randbytes(student.random.randrange(5, 60))
    call = student.call("feed_and_end", LIMIT, frame(payload), raises=True, step="feed a whole frame, then end")
    student.should(
        call.exception is None and call.value == [payload],
        should="end quietly between two frames",
        but=f"it raised {call.exception}" if call.exception else f"it gave {call.value!r}",
        mistake="the end of a stream taken for an error wherever it comes",
        read="When end of file comes",
    )
    for part, wanted in ((frame(payload)[:3], 4), (frame(payload)[:-1], 4 + len(payload))):
        call = student.call(
            "feed_and_end",
            LIMIT,
            part,
            raises=True,
            step=f"feed {len(part)} of a frame's {4 + len(payload)} bytes, then end",
        )
        said = f"end of file after {len(part)} of {wanted} bytes"
        student.should(
            call.exception is not None and "EndedEarly" in call.exception.bases and call.exception.message == said,
            should=f"raise EndedEarly({len(part)}, {wanted})",
            but=f"it raised {call.exception}" if call.exception else "it said nothing",
            mistake="half a frame dropped in silence, or its bytes counted without the prefix",
            read="When end of file comes",
        )

"""4.3 the output queue: many shared buffers in one sendmsg, partial sends, POLLOUT only while something is pending."""

import select
import socket

import pytest

pytestmark = pytest.mark.exercise("4.3")
READ = "The output queue"
IOV_MAX = 1024
SENDING = ("sendmsg", "sendto", "write", "writev", "sendmmsg")
SECONDS = 1.5
ROUNDS = 60  # a send buffer of any size that Linux gives by default takes 900 kB in far fewer

HELPERS = """
import tracemalloc

def fill(queue, lines):
    for line in lines:
        queue.push(line)

def memory_of_queues(count, size):
    line = bytes(size)
    tracemalloc.start()
    queues = [OutputQueue() for _ in range(count)]
    for queue in queues:
        queue.push(line)
        queue.push(memoryview(line))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return taken, [queue.pending() for queue in queues]

def memory_of_a_flush(sock, lines):
    queue = OutputQueue()
    fill(queue, lines)
    tracemalloc.start()
    sent = queue.flush(sock)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return taken, sent, queue.pending()
"""


def filled(student, lines, words):
    """A new OutputQueue with these lines in it."""
    student.define(HELPERS)
    queue = student.new("OutputQueue")
    student.call("fill", queue, lines, step=words)
    return queue


def non_blocking_pair():
    """(the judge's end, the end that is flushed to)."""
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    theirs.setblocking(False)
    return mine, theirs


def tcp_pair():
    """The same over TCP: thousands of short lines, also sent one by one, find room in its buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mine = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.setblocking(False)
    return mine, theirs


def arrives(sock, size):
    """Up to so many bytes, as far as they come within a second of each other."""
    sock.settimeout(1.0)
    data = b""
    try:
        while len(data) < size and (chunk := sock.recv(size - len(data))):
            data += chunk
    except TimeoutError:
        pass
    return data


def received(sock):
    """All that is there, without waiting."""
    chunks = []
    while True:
        try:
            chunk = sock.recv(1 << 20)
        except BlockingIOError:
            chunk = b""
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def flush(queue, sock):
    """One call of flush, which may raise."""
    mistake = "a loop around sendmsg that goes on until there is room: poll tells of that"
    return queue.call("flush", sock, raises=True, hangs=mistake, timeout=SECONDS, read=READ)


def events_should_be(student, queue, wanted, why):
    """POLLOUT, or nothing."""
    found = queue.call("events").value
    student.should(
        found == wanted,
        should=f"return {'select.POLLOUT' if wanted else '0'} from events() {why}",
        but=f"it returned {found!r}",
        mistake="POLLOUT left on with nothing to send: it is there nearly always, so poll never sleeps again"
        if not wanted
        else "POLLOUT not asked for: what waits here would never leave",
        read=READ,
    )


def test_many_buffers_in_one_call(student):
    """Many short lines leave in few calls of sendmsg, in order."""
    mine, theirs = tcp_pair()
    count = 2 * IOV_MAX + student.random.randrange(100, 900)
    lines = [b"%d\n" % number for number in range(count)]
    queue = filled(student, lines, f"push {count} lines")
    call = flush(queue, theirs)
    student.should(
        call.exception is None,
        should="send them all",
        but=f"it raised {call.exception}",
        mistake="all buffers in one sendmsg: it takes at most IOV_MAX (1024) of them, else EMSGSIZE",
        read=READ,
    )
    total = sum(map(len, lines))
    got = arrives(mine, total)
    student.should(
        got == b"".join(lines) and call.value == total,
        should=f"send {count} lines in order, and return their {total} bytes",
        but=f"{got.count(10)} lines came{'' if got == b''.join(lines)[: len(got)] else ', out of order'},"
        f" and it returned {call.value!r}",
        mistake="one sendmsg for more than IOV_MAX buffers, and the rest left, or a number that is not bytes",
        read=READ,
    )
    student.should(
        queue.call("pending").value == 0, should="have nothing pending then", but="pending() says otherwise", read=READ
    )
    events_should_be(student, queue, 0, "when all has been sent")
    calls = student.syscalls(*SENDING)
    wanted = -(-count // IOV_MAX)
    student.should(
        {sent.name for sent in calls} == {"sendmsg"} and len(calls) <= wanted,
        should=f"need {wanted} calls of sendmsg, of {IOV_MAX} buffers at most",
        but=f"the kernel saw {', '.join(f'{sum(c.name == n for c in calls)} of {n}' for n in {c.name for c in calls})}",
        mistake="a call for each line, or lines joined into one bytes: sendmsg takes a list of buffers as they are",
        read=READ,
    )


def test_a_full_socket(student):
    """What a full socket does not take is sent later, from the byte on where it stopped, without spinning."""
    mine, theirs = non_blocking_pair()
    lines = [student.random.randbytes(60_000) for _ in range(15)]
    queue = filled(student, lines, "push 15 lines of 60000 bytes")
    events_should_be(student, queue, select.POLLOUT, "before the first flush")
    whole, got = b"".join(lines), b""
    for number in range(ROUNDS):
        call = flush(queue, theirs)
        student.should(
            call.exception is None,
            should="return how much the kernel has taken",
            but=f"it raised {call.exception}",
            mistake="EAGAIN (BlockingIOError) not caught: a full socket is no error",
            read=READ,
        )
        more = received(mine)
        got += more
        student.should(
            whole.startswith(got),
            should="go on with the byte behind the last one that was taken",
            but=f"after {number + 1} flushes other bytes came",
            mistake="the middle of a buffer lost sight of: a part of some line is left out, or sent twice",
            read=READ,
        )
        pending = queue.call("pending").value
        student.should(
            (call.value, pending) == (len(more), len(whole) - len(got)),
            should=f"return {len(more)}, and have {len(whole) - len(got)} bytes pending",
            but=f"it returned {call.value!r}, and has {pending!r}",
            mistake="a partial send taken for a whole one: sendmsg returns how much it has taken of what it was given",
            read=READ,
        )
        if len(got) == len(whole):
            break
        events_should_be(student, queue, select.POLLOUT, "while something is pending")
    student.should(got == whole, should=f"have sent all in {ROUNDS} flushes", but=f"{len(got)} bytes came")
    events_should_be(student, queue, 0, "when all has been sent")


def test_a_socket_that_takes_nothing(student):
    """A flush to a socket that is full returns 0, after one try."""
    mine, theirs = non_blocking_pair()
    while True:
        try:
            theirs.send(bytes(65536))
        except BlockingIOError:
            break
    queue = filled(student, [b"hello\n"], "push a line, for a socket whose buffers are full")
    call = flush(queue, theirs)
    tries = len([sent for sent in student.syscalls(*SENDING) if sent.error == "EAGAIN"])
    student.should(
        call.exception is None and call.value == 0 and tries == 1,
        should="try once, and return 0",
        but=f"it raised {call.exception}" if call.exception else f"it tried {tries} times, and returned {call.value!r}",
        mistake="EAGAIN not caught"
        if call.exception
        else "a line given up, or tried again and again, when there is no room",
        read=READ,
    )
    student.should(
        queue.call("pending").value == 6,
        should="keep the line's 6 bytes",
        but="pending() says otherwise",
        mistake="EAGAIN ignored: a line that the kernel did not take is lost in silence",
        read=READ,
    )
    del mine


def test_buffers_are_shared(student):
    """A line in a hundred queues is there once, and a flush copies no queue."""
    student.define(HELPERS)
    size = 60_000 + student.random.randrange(1000)
    taken, pending = student.call(
        "memory_of_queues", 100, size, step=f"push a line of {size} bytes to 100 queues"
    ).value
    student.should(
        pending == [2 * size] * 100, should=f"have {2 * size} bytes pending in each", but=f"they have {set(pending)}"
    )
    student.should(
        taken < 1_000_000,
        should="keep the line where it is, for all of them",
        but=f"the queues have taken {taken // 1000} kB of memory",
        mistake="a copy for each queue: bytearray += line, bytes(view), or joined lines",
        read=READ,
    )
    _mine, theirs = non_blocking_pair()
    lines = [bytes(size)] * 40
    taken, sent, left = student.call("memory_of_a_flush", theirs, lines, step=f"flush 40 lines of {size} bytes").value
    student.should(
        sent > 0 and sent + left == 40 * size and taken < 600_000,
        should="send from the buffers where they are",
        but=f"the flush took {taken // 1000} kB of memory",
        mistake='lines joined before they are sent (b"".join), which copies all that is pending with each flush',
        read=READ,
    )


def test_a_reader_that_is_gone(student):
    """Another error than EAGAIN is raised: the caller must see that the client is gone."""
    mine, theirs = non_blocking_pair()
    queue = filled(student, [b"hello\n"], "push a line, for a socket whose other end is closed")
    mine.close()
    call = flush(queue, theirs)
    student.should(
        call.exception is not None and "BrokenPipeError" in call.exception.bases,
        should="raise BrokenPipeError, as sendmsg does",
        but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
        mistake="every OSError caught, where only EAGAIN means a full socket",
        read="How a client leaves",
    )

"""5.2 drain an edge-triggered socket: until EAGAIN or the end, and the end may come with the last words."""

import socket

import pytest

pytestmark = pytest.mark.exercise("5.2")
READ = "Level or edge"
PIECE_BYTES = 4096
END_UNREAD = (
    "an end of file that is not looked for: it may stand right behind the last words, and is no edge of its own then"
)
LEFT_UNREAD = "one recv, or a few, for each event: an edge is told once, and what is left unread is never told of again"


def connections(student, count):
    """The judge's ends of socketpairs, and the ends for the student: some of them blocking, some not."""
    pairs = [socket.socketpair() for _ in range(count)]
    for _, theirs in pairs:
        theirs.setblocking(student.random.choice([True, False]))
    return [mine for mine, _ in pairs], [theirs for _, theirs in pairs]


def started(student, socks):
    return student.start("collect", socks, step=f"collect({len(socks)} connections)")


def returned(
    student,
    pending,
    said,
    hangs,
    mistake="the end of one connection taken for the end of all, or bytes of one taken for another's",
):
    """collect must return what has been said on each connection, and leave the connections open, and no epoll."""
    call = pending.result(hangs=hangs, read=READ)
    wanted = [b"".join(pieces) for pieces in said]
    student.should(
        call.value == wanted,
        should=f"return what came on each connection: {', '.join(str(len(data)) for data in wanted)} bytes",
        but=f"it returned {sizes(call.value)}",
        mistake=mistake,
        read=READ,
    )
    return call


def sizes(value):
    """What came back, in words."""
    if not isinstance(value, list) or not all(isinstance(data, bytes) for data in value):
        return repr(value)[:100]
    return f"{', '.join(str(len(data)) for data in value)} bytes, as a list" if value else "an empty list"


def sleeps_in_epoll(student, should, mistake):
    """It must come to rest, in epoll_wait."""
    audit = student.sleeps(should=f"sleep {should}", mistake="a loop around recv that waits by asking", read=READ)
    student.should(
        audit.own.waits_in.startswith("epoll_"),
        should=f"wait in epoll_wait {should}",
        but=f"it waits in {audit.own.waits_in}",
        mistake=mistake,
        read=READ,
    )


def test_everything_on_every_connection(student):
    """All that comes is returned, connection by connection, and the connections are left open."""
    ours, theirs = connections(student, 4)
    said = [[b"already there, %d\n" % student.random.randrange(10**6)] for _ in ours]
    for mine, (line,) in zip(ours, said, strict=True):
        mine.send(line)
    student.step("each peer has said a line before")
    pending = started(student, theirs)
    for _ in range(12):
        place = student.random.randrange(len(ours))
        line = b"x" * student.random.randrange(1, 3000)
        said[place].append(line)
        ours[place].sendall(line)
    first, *others = student.random.sample(range(len(ours)), len(ours))
    student.step("they say lines, in any order; then one closes")
    ours[first].close()
    student.sleeps(
        should="sleep until there is something to do",
        mistake="a connection that has ended is asked again, or a loop around recv that waits by asking",
        read=READ,
    )
    student.step("the others say another line each, and close")
    for place in others:
        said[place].append(b"one more, %d\n" % student.random.randrange(10**6))
        ours[place].send(said[place][-1])
        ours[place].close()
    call = returned(student, pending, said, END_UNREAD)
    opened, closed = ", ".join(call.audit.opened.values()), ", ".join(call.audit.closed.values())
    student.should(
        not opened and not closed,
        should="leave the connections open, and nothing else",
        but=f"left open: {opened or 'none'}; closed: {closed or 'none'}",
        mistake="an epoll is a descriptor too: close it, or use `with`; the connections are the caller's",
        read=READ,
    )


def test_a_burst_is_read_to_its_end(student):
    """A burst of which epoll tells once is read to its end."""
    ours, theirs = connections(student, 2)
    pending = started(student, theirs)
    sleeps_in_epoll(student, "while nobody says anything", "recv on a blocking socket: the others are not heard")
    said = [[student.random.randbytes(student.random.randrange(10, 20) * PIECE_BYTES)], [b"last\n"]]
    with student.frozen():
        ours[0].sendall(said[0][0])
    student.step(f"{len(said[0][0])} bytes come at once on one of them")
    sleeps_in_epoll(
        student, "when nothing is left to read", "recv on a blocking socket: it waits when nothing is left to read"
    )
    student.step("then both end, the other one with a line")
    ours[0].close()
    with student.frozen():
        ours[1].send(said[1][0])
        ours[1].close()
    returned(student, pending, said, LEFT_UNREAD)
    waits = [call for call in student.syscalls("epoll_ctl") if "EPOLL_CTL_MOD" in call.text]
    added = [call for call in student.syscalls("epoll_ctl") if "EPOLL_CTL_ADD" in call.text]
    student.should(
        len(added) == 2 and not waits and all("EPOLLET" in call.text for call in added),
        should="tell one epoll of each connection once, with EPOLLIN | EPOLLET",
        but=f"it registered {len(added)}, {sum('EPOLLET' in call.text for call in added)} of them edge-triggered,"
        f" and modified {len(waits)}",
        mistake="level-triggered, or told anew of each connection (EPOLL_CTL_MOD tells again of what is left)",
        read=READ,
    )
    largest = max((int(call.args[2]) for call in student.syscalls("recvfrom")), default=0)
    student.should(
        largest <= PIECE_BYTES,
        should=f"receive at most {PIECE_BYTES} bytes in one recv",
        but=f"it asked for {largest}",
        mistake="a buffer large enough for everything: there is no such buffer",
        read=READ,
    )


def test_last_words_and_the_end_come_together(student):
    """Last words and the end come as one edge: both are read."""
    ours, theirs = connections(student, 1)
    pending = started(student, theirs)
    sleeps_in_epoll(student, "while nobody says anything", "recv on a blocking socket: the others are not heard")
    words = b"last words %d\n" % student.random.randrange(10**6)
    with student.frozen():
        ours[0].send(words)
        ours[0].close()
    student.step(f"the peer says {words!r} and closes: both are there when epoll tells")
    returned(
        student,
        pending,
        [[words]],
        "a short piece taken for all there is: the end of file behind it makes no edge of its own any more",
        "EPOLLRDHUP or EPOLLHUP handled before the last words are read",
    )


def test_nobody_is_waited_for_in_recv(student):
    """One who says something and is silent then keeps nobody from being heard."""
    ours, theirs = connections(student, 3)
    for sock in theirs:
        sock.setblocking(True)
    pending = started(student, theirs)
    said = [[b"first\n"], [], []]
    ours[0].send(said[0][0])
    student.step("one says a line, and is silent; its socket is a blocking one")
    sleeps_in_epoll(
        student, "until somebody says something", "recv on a blocking socket: it waits when nothing is left"
    )
    for place in (2, 1):
        said[place].append(b"line %d\n" % student.random.randrange(10**6))
        ours[place].send(said[place][0])
        student.step("another one says a line, and closes")
        ours[place].close()
        sleeps_in_epoll(student, "until the first one says something", "recv on a blocking socket")
    ours[0].close()
    returned(student, pending, said, END_UNREAD)

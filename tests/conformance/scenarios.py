"""What any line relay must do over the wire, one function a case: each is given a Room and raises Fault.

pytest runs all of them (test_conformance.py), each on a server of its own; the judge of exercise 4.7 runs quick ones.
A case leaves nothing behind but connections that it closes, so one server may be given many cases, one after another.
"""

import contextlib
import random
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chatlab.launch.program import scale
from chatlab.load import Client
from chatlab.load import Room as Crowd
from chatlab.load.client import shown
from tests.conformance import looks, pouring
from tests.conformance.room import DoesNotApply, Fault, NotChecked, Room, difference, likely

LONGEST_LINE = 65_536  # bytes, newline included
MEBIBYTE = 1 << 20
FILL_BYTES = MEBIBYTE // 2  # with TCP_NOTSENT_LOWAT the kernel takes less for a deaf one; no queue is full yet
LAST_WORDS_LOST = "a hang-up is handled before the data: it tells of the end, not that everything before has been read"


@dataclass(frozen=True)
class Scenario:
    """One case. quick: a fraction of a second on a correct server. needs_pid: looks at the server in /proc.

    slow: many seconds on any server, left out unless asked for (--slow).
    """

    name: str
    title: str
    run: Callable[[Room], None]
    quick: bool
    needs_pid: bool
    slow: bool


SCENARIOS: dict[str, Scenario] = {}


def scenario(*, quick: bool = True, needs_pid: bool = False, slow: bool = False, into: dict[str, Scenario] = SCENARIOS):
    """Enter a function into SCENARIOS, or into another table, under its name."""

    def enter(function: Callable[[Room], None]) -> Callable[[Room], None]:
        name, title = function.__name__, (function.__doc__ or "").strip().splitlines()[0]

        def run(room: Room) -> None:
            with likely(title, "what comes before this case already goes wrong"):
                function(room)

        into[name] = Scenario(name, title, run, quick and not slow, needs_pid, slow)
        return function

    return enter


# Lines


@scenario()
def byte_at_a_time(room: Room) -> None:
    """A line that comes byte by byte is relayed as one line."""
    sender, reader, other = room.join(3)
    line = b"one byte at a time\n"
    for number in range(len(line) - 1):
        sender.send(line[number : number + 1])
        # A line of somebody else's makes sure that the server has looked at each byte alone.
        other.send_line(b"between")
        room.receives(
            reader,
            b"between\n",
            should="relay nothing of a line before its newline is there",
            mistake="chunks are relayed as they come, instead of lines",
        )
    sender.send(line[-1:])
    room.receives(reader, line, mistake="the pieces of a line are not kept until its newline comes")


@scenario()
def many_lines_in_one_segment(room: Room) -> None:
    """Many lines that come at once are all relayed."""
    sender, *readers = room.join(3)
    text = b"".join(b"line %d\n" % number for number in range(500))
    sender.send(text)
    for reader in readers:
        room.receives(
            reader,
            text,
            should="relay all 500 lines of one segment",
            mistake="one line is taken from each chunk, the rest is forgotten, or waits until more comes",
        )


@scenario()
def empty_lines(room: Room) -> None:
    """An empty line is a line."""
    sender, reader = room.join(2)
    sender.send(b"\n\n\nafter\n")
    room.receives(reader, b"\n\n\nafter\n", mistake="an empty line is taken for the end of the input, or left out")


@scenario()
def line_of_60_kb(room: Room) -> None:
    """A line of 60,000 bytes arrives whole."""
    sender, reader = room.join(2)
    line = b"60 kB " + b"x" * 59_993 + b"\n"
    sender.send(line)
    room.receives(reader, line, mistake="a buffer of fixed size, or a short send whose rest is forgotten")


@scenario()
def longest_line(room: Room) -> None:
    """A line of exactly 65,536 bytes, its newline included, is allowed."""
    sender, reader = room.join(2)
    line = b"y" * (LONGEST_LINE - 1) + b"\n"
    sender.send(line + b"next\n")
    room.receives(reader, line + b"next\n", mistake="the limit is off by one, or does not count the newline")


@scenario()
def endless_line(room: Room) -> None:
    """A line without an end ends its sender, with a notice; nobody else notices."""
    sender, reader, other = room.join(3)
    sender.send(b"early\n" + b"z" * LONGEST_LINE)
    for each in (reader, other):
        room.receives(
            each,
            b"early\n",
            should="deliver the lines before the endless one",
            mistake="what came in one chunk with the endless line is thrown away with it",
        )
    with likely("end a sender whose line has no end, with a notice to it", "a line is kept however long it grows"):
        how = sender.ended()
    room.should(
        re.fullmatch(rb"\* [^\n]+\n", bytes(sender.received)),
        should='say why, in one line that starts with "* "',
        but=f"{shown(bytes(sender.received))} came, then {how}",
        mistake="the connection is closed without a word, or over unread bytes, which turns the notice into a reset",
    )
    room.settle(other, reader)
    room.nothing_else(reader, other, mistake="the beginning of the endless line is relayed")


@scenario()
def every_byte(room: Room) -> None:
    """Lines are bytes: NUL, 0xFF and all others pass untouched."""
    sender, reader = room.join(2)
    line = bytes(value for value in range(256) if value != 0x0A) + b"\n"
    sender.send(b"\0\n\xff\xfe\n" + line)
    room.receives(
        reader,
        b"\0\n\xff\xfe\n" + line,
        mistake="lines are handled as text: decoded, stripped, or ended at a NUL as strlen does",
    )


@scenario()
def carriage_return_stays(room: Room) -> None:
    """A carriage return before the newline is a byte like any other."""
    sender, reader = room.join(2)
    sender.send(b"telnet ends its lines so\r\n\r\n lone \r too \n")
    room.receives(reader, b"telnet ends its lines so\r\n\r\n lone \r too \n", mistake="splitlines or strip on a line")


# Who gets them


@scenario()
def not_echoed(room: Room) -> None:
    """A line goes to everyone but its sender."""
    sender, reader, other = room.join(3)
    sender.send_line(b"mine")
    for each in (reader, other):
        room.receives(each, b"mine\n", mistake="not everybody in the room is served")
    other.send_line(b"yours")
    room.receives(
        sender,
        b"yours\n",
        should="send a line to everyone but its sender",
        mistake="the sender is not left out when a line is relayed",
    )


@scenario()
def two_senders_do_not_mix(room: Room) -> None:
    """The pieces of two senders' lines never mix inside a line."""
    one, two, other, reader = room.join(4)
    one.send(b"first half, ")
    two.send(b"a line whose sender ")
    room.settle(other, reader)
    two.send(b"is quicker\n")
    room.receives(
        reader,
        b"a line whose sender is quicker\n",
        should="keep each sender's beginning of a line apart",
        mistake="one buffer for all clients, or chunks relayed as they come",
    )
    one.send(b"second half\n")
    room.receives(reader, b"first half, second half\n", mistake="one buffer for all clients")


@scenario()
def order_of_each_sender(room: Room) -> None:
    """Every line of five senders arrives whole, once and in its sender's order, however they are cut into pieces."""
    *senders, reader = room.join(6)
    generator = random.Random(20)
    said = [
        [b"sender %d line %d %s\n" % (who, number, b"." * generator.randrange(300)) for number in range(200)]
        for who in range(len(senders))
    ]
    texts = [b"".join(lines) for lines in said]
    while any(texts):
        who = generator.choice([place for place, text in enumerate(texts) if text])
        size = generator.choice([1, 10, 100, 1000, 5000])
        senders[who].send(texts[who][:size])
        texts[who] = texts[who][size:]
    with likely("relay every line", "bytes that did not fit into a send, or came in a second chunk, are forgotten"):
        lines = reader.read_lines(sum(map(len, said)))
    for who, expected in enumerate(said):
        came = [line for line in lines if line.startswith(b"sender %d " % who)]
        room.should(
            came == expected,
            should="relay each sender's lines whole, once, in the order in which they were sent",
            but=lambda came=came, expected=expected: difference(b"".join(came), b"".join(expected)),
            mistake="two lines of one turn share one place, or a queue that is not first in, first out",
        )
    room.should(
        len(lines) == sum(map(len, said)) == sum(line.startswith(b"sender ") for line in lines),
        should="relay nothing but lines that were sent",
        but=f"{shown(next((line for line in lines if not line.startswith(b'sender ')), b''))} came",
        mistake="the pieces of lines are mixed",
    )


@scenario()
def one_order(room: Room) -> None:
    """All hear the lines in the same order, whoever says them."""
    *speakers, first, second = room.join(6)
    count = 20
    for turn in range(count):
        with room.held():
            for number, speaker in enumerate(speakers):
                speaker.send_line(b"%d says %d" % (number, turn))
    order = first.read_lines(count * len(speakers))
    for number, client in [(None, second), *enumerate(speakers)]:
        expected = [line for line in order if number is None or not line.startswith(b"%d " % number)]
        came = client.read_lines(len(expected))
        room.should(
            came == expected,
            should="relay the lines to everybody in the same order, but each without its own",
            but=lambda came=came, expected=expected: difference(b"".join(came), b"".join(expected)),
            mistake="lines are handed to each client by themselves, in the order in which it happens to see them",
        )


@scenario()
def several_in_one_turn(room: Room) -> None:
    """When many speak at once, everybody hears all the others."""
    clients = room.join(20)
    with room.held():
        for number, client in enumerate(clients):
            client.send_line(b"from %d" % number)
    for number, client in enumerate(clients):
        expected = {b"from %d\n" % other for other in range(20) if other != number}
        with likely("relay the lines of all who speak at once", "one pending message per client: the last one wins"):
            came = client.read_lines(19)
        room.should(
            set(came) == expected,
            should="relay the lines of all who speak at once",
            but=lambda came=came: f"{len(set(came))} different lines of 19 came",
            mistake="one pending message per client: the last one wins",
        )


# How clients leave


@scenario()
def send_and_close(room: Room) -> None:
    """Who sends and closes at once is heard."""
    (reader, _) = room.join(2)
    for number in range(5):
        with room.held():
            client = room.connect()
            client.send_line(b"last words %d" % number)
            client.close()
        room.receives(
            reader,
            b"last words %d\n" % number,
            should="relay what a client said before it closed",
            mistake=LAST_WORDS_LOST,
        )


@scenario()
def last_words_before_a_reset(room: Room) -> None:
    """Who closes with the room's lines unread is heard nevertheless: its close sends RST, after its last words."""
    leaver, reader = room.join(2)
    with room.held():
        leaver.send_line(b"last words")
        leaver.reset()
    with likely("relay what a client said before its connection was reset", LAST_WORDS_LOST):
        reader.read_until(b"last words")


@scenario()
def unterminated_last_line(room: Room) -> None:
    """Text without a newline is completed after the sender's FIN."""
    sender, reader, other = room.join(3)
    sender.send(b"whole\nno newline")
    sender.end_input()
    for each in (reader, other):
        room.receives(
            each,
            b"whole\nno newline\n",
            should="relay the unterminated text of a client that ends its input, with a newline",
            mistake="what has no newline is thrown away at end of file, or relayed without one",
        )


@scenario()
def unterminated_text_after_reset(room: Room) -> None:
    """Text without a newline is dropped after RST."""
    sender, reader, other = room.join(3)
    sender.send(b"heard\nnever finished")
    room.receives(reader, b"heard\n", mistake="a line waits for the one behind it")
    sender.reset()
    mistake = "a reset is handled as the end of input, which completes the last line; or chunks are relayed"
    room.settle(other, reader, mistake)
    room.nothing_else(reader, mistake=mistake)


@scenario()
def half_close_keeps_receiving(room: Room) -> None:
    """Who has ended its input still hears the room."""
    sender, other, reader = room.join(3)
    sender.send_line(b"I only listen now")
    sender.end_input()
    room.receives(reader, b"I only listen now\n", mistake="hang-up is handled before the data")
    for number in range(3):
        other.send_line(b"%d" % number)
        room.receives(
            sender,
            b"%d\n" % number,
            should="go on sending to a client that has sent FIN",
            mistake="read() == 0 or POLLRDHUP is taken for the end of the connection; it ends one direction",
        )
        room.receives(reader, b"%d\n" % number, mistake="a half-closed client stops the relay")


@scenario()
def reset_harms_nobody(room: Room) -> None:
    """A connection that is reset is forgotten, and the room goes on."""
    sender, reader, *others = room.join(12)
    for number, other in enumerate(others):
        other.send(b"half a line")
        other.reset()
        sender.send_line(b"after %d resets" % (number + 1))
        room.receives(
            reader,
            b"after %d resets\n" % (number + 1),
            should="go on when a connection is reset",
            mistake="ECONNRESET or EPIPE on one connection ends the server, or the turn",
        )


@scenario()
def reset_under_way(room: Room) -> None:
    """A reader that is reset while much is on its way to it harms nobody."""
    sender, reader, victim = room.join(3)
    text = pouring.lines(MEBIBYTE)
    half = len(text) // 2 - len(text) // 2 % pouring.LINE_BYTES
    pouring.pour(room, sender, text[:half], [reader])
    victim.reset()  # half of it unread, and perhaps unsent
    pouring.pour(room, sender, text[half:], [reader])


# Who does not read, who reads slowly, who says too much


@scenario(quick=False)
def reader_that_never_reads(room: Room) -> None:
    """One that never reads is ended while 20 MB pass; the room goes on, and memory stays bounded."""
    _room_goes_on_beside(room, stalled=1, text=pouring.lines(20 * MEBIBYTE), bound=16 * MEBIBYTE)


@scenario(quick=False)
def fifty_readers_that_never_read(room: Room) -> None:
    """Fifty that never read are ended; the room goes on, and memory stays bounded."""
    # Each has a queue of 1 MiB at most, which the server may share or copy, and Python's allocator keeps some more.
    _room_goes_on_beside(room, stalled=50, text=pouring.lines(20 * MEBIBYTE), bound=(50 + 25) * MEBIBYTE)


def _room_goes_on_beside(room: Room, stalled: int, text: bytes, bound: int) -> None:
    sender, reader, *stuck = room.join(2 + stalled, receive_buffer=64 * 1024)
    memory = looks.MemoryPeak(room) if room.pid else None
    pouring.pour(room, sender, text, [reader], meanwhile=lambda _: memory and memory.look())
    for client in stuck:
        with likely(
            "end a client that takes nothing for a second while its queue is full",
            "queues without a bound, or a reader that may stall the room again and again",
        ):
            client.ended()
    if memory:
        grown = memory.grown
        room.should(
            grown < bound,
            should=f"hold {bound // MEBIBYTE} MiB at most for {stalled} readers that do not read",
            but=f"its memory grew by {grown / MEBIBYTE:.0f} MiB",
            mistake="queues without a bound",
        )


@scenario(quick=False, needs_pid=True)
def small_words_for_a_flooder(room: Room) -> None:
    """Small lines for one that floods the room and never reads cost little memory."""
    talker, flooder = _with_a_deaf_one(room, 2)
    flood = (b"d" * 1023 + b"\n") * 32
    with _little_memory(room, 8 * MEBIBYTE, "each holds its whole turn in memory: a view holds its block") as look:
        for number in range(800):
            with room.held():
                flooder.send(flood)
                talker.send(b"\n")
            talker.read_exactly(len(flood))
            look(number)


@scenario(quick=False, needs_pid=True)
def small_words_for_deaf_ones(room: Room) -> None:
    """Small lines for those that never read cost little memory."""
    reader, *deaf = _with_a_deaf_one(room, 20)
    with _little_memory(room, 4 * MEBIBYTE, "an object for each: a memoryview of one byte has nearly 200") as look:
        for number in range(1000):
            with room.held():
                for each in deaf:
                    each.send(b"\n")
            reader.read_exactly(len(deaf))
            look(number)


def _with_a_deaf_one(room: Room, count: int) -> list[Client]:
    """One that reads, and count - 1 that do not, for whom something waits already, beyond what the kernel has taken."""
    reader, *deaf = room.join(count, receive_buffer=4096)
    reader.send(pouring.lines(FILL_BYTES))
    room.settle(deaf[0], reader)
    return [reader, *deaf]


@contextlib.contextmanager
def _little_memory(room: Room, bound: int, mistake: str) -> Iterator[Callable[[int], None]]:
    """What happens in the block costs the server `bound` bytes at most. Its rounds call `look` with their number."""
    before = looks.memory(room)

    def look(number: int) -> None:
        grown = looks.memory(room) - before if number % 100 == 99 else 0
        room.should(
            grown < bound,
            should="keep small lines for one that does not read in little memory",
            but=f"after {number + 1} rounds its memory has grown by {grown / MEBIBYTE:.0f} MiB",
            mistake=mistake,
        )

    with likely("go on relaying while one does not read", "one that does not read holds up all the others"):
        yield look


@scenario(quick=False)
def slow_reader_loses_nothing(room: Room) -> None:
    """A slow reader gets every byte of a burst of 20 MB, in order; so does the room, which waits for it."""
    sender, reader, slow = room.join(3, receive_buffer=64 * 1024)
    text = pouring.lines(20 * MEBIBYTE)
    pouring.pour(room, sender, text, [reader], lazy=[slow])


@scenario(slow=True)
def reader_of_100_kb_a_second(room: Room) -> None:
    """A reader of 100 kB a second gets every byte of a burst of 20 MB."""
    sender, reader, slow = room.join(3, receive_buffer=64 * 1024)
    pouring.pour(room, sender, pouring.lines(20_000_000), [reader], lazy=[slow], lazy_rate=100_000)


@scenario()
def flood_beside_a_talker(room: Room) -> None:
    """Who floods the room silences nobody, nor itself: all hear a talker's lines meanwhile."""
    flooder, talker, reader = room.join(3)
    pouring.flood(room, flooder, talker, [reader, flooder], count=20)


# Many


@scenario(quick=False)
def connect_storm(room: Room) -> None:
    """300 that connect at once are all let in, and all hear each other."""
    clients = room.join(300)
    for number, client in enumerate(clients[:10]):
        client.send_line(b"%d" % number)
    for number, client in enumerate(clients):
        expected = {b"%d\n" % other for other in range(10) if other != number}
        with likely("let 300 newcomers in, each a full member", "one accept for many connections"):
            came = client.read_lines(len(expected))
        room.should(
            set(came) == expected,
            should="relay to every one of 300 newcomers",
            but=lambda came=came: f"{shown(b''.join(came))} came",
            mistake="one accept for many connections",
        )


@scenario(needs_pid=True)
def newcomers_hear_what_is_said_next(room: Room) -> None:
    """A line that is said after eight have come reaches all of them."""
    speaker, reader = room.join(2)
    with room.held():
        newcomers = [room.connect() for _ in range(8)]  # fewer than any backlog
        speaker.send_line(b"welcome, all of you")
    for client in (reader, *newcomers):
        room.receives(
            client,
            b"welcome, all of you\n",
            should="accept all who wait before it reads",
            mistake="one accept in each turn of the loop: the others wait in the backlog while the line is relayed",
        )


@scenario(needs_pid=True)
def churn(room: Room) -> None:
    """200 connections that come and go leave no descriptor open, no process and no zombie."""
    sender, reader = room.join(2)
    before = looks.descriptors(room), len(looks.tree(room))
    for number in range(200):
        client = room.connect()
        if number % 4 == 1:
            client.send_line(b"short visit")
        if number % 4 == 2:
            client.send(b"no newline")
        if number % 4 == 3:
            client.reset()
        client.close()
        if number % 20 == 19:  # so that no wait is for all of them: a newcomer may cost a fork
            sender.send_line(b"%d have come" % (number + 1))
            reader.read_until(b"%d have come" % (number + 1))
    # A close looks like a half-close until a send fails, so something is said until all of them are found out.
    for _ in looks.tries(room):
        sender.send_line(b"is anybody gone?")
        reader.read_until(b"is anybody gone?")
        now = looks.descriptors(room), len(looks.tree(room))
        if now == before:
            return
    if now[0] != before[0]:
        raise Fault(
            "close what it opened for 200 clients that have gone",
            f"{now[0]} descriptors are open instead of {before[0]}",
            "a connection is taken out of a list, but not closed, or an error of send leaves it in the room",
        )
    raise Fault(
        "end the processes that it made for 200 clients that have gone, and wait for them",
        f"there are {now[1]} processes instead of {before[1]}, {len(looks.zombies(room))} of them zombies",
        "one waitpid for many children",
    )


@scenario(needs_pid=True, slow=True)
def memory_of_5000_idle_clients(room: Room) -> None:
    """5000 idle clients need less than 40 MB of resident memory."""
    first = room.join(2)
    if looks.has_children(room, first):
        raise DoesNotApply("a process for each client is not made for 5000 of them")
    for client in first:
        client.close()
    with likely("let 5000 clients in", "a limit of descriptors that is not raised"), Crowd(room.address, 5000):
        used = looks.memory(room)
    room.should(
        used < 40_000_000,
        should="hold 5000 idle clients in less than 40 MB",
        but=f"it has {used / 1e6:.0f} MB resident",
        mistake="buffers that are there before anything comes",
    )


# Rest


@scenario(needs_pid=True)
def rests_after_talk(room: Room) -> None:
    """Once everything is said, the server sleeps until something happens."""
    clients = room.join(5)
    for client in clients:
        client.send(b"x" * 5000 + b"\n")
    for client in clients:
        client.read_lines(4)
    looks.rests(room, "an event mask that stays wrong after the first relay: POLLOUT left on, or `events |= ~POLLIN`")


@scenario(needs_pid=True)
def rests_beside_a_half_closed_client(room: Room) -> None:
    """A client that has ended its input keeps nobody awake."""
    sender, reader, other = room.join(3)
    sender.end_input()
    room.settle(other, reader)
    looks.rests(room, "end of file stays readable: a descriptor that has given it is still polled for POLLIN")


@scenario(needs_pid=True)
def rests_beside_one_that_has_gone(room: Room) -> None:
    """A connection that was closed or reset keeps nobody awake."""
    gone, reset, reader, other = room.join(4)
    gone.close()
    reset.reset()
    for _ in range(2):
        room.settle(other, reader)
    looks.rests(room, "POLLERR and POLLHUP come unasked: a broken connection must leave the poll set")


# Other programs


def _member(room: Room, *command: str) -> None:
    """A program that copies its input to the room, and the room to its output, is a full member."""
    if shutil.which(command[0]) is None:
        raise NotChecked(f"{command[0]} is not installed")
    first, second = room.join(2)
    mistake = "a greeting, a protocol, or more than lines is expected of a client"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        try:
            program.stdin.write(b"typed into " + command[0].encode() + b"\n")
            program.stdin.flush()
            for each in (first, second):
                room.receives(each, b"typed into " + command[0].encode() + b"\n", mistake=mistake)
            first.send_line(b"hello")
            second.send_line(b"again")
            room.receives(second, b"hello\n", mistake=mistake)
            room.receives(first, b"again\n", mistake=mistake)
            with _deadline(program, room.timeout):
                came = program.stdout.readline() + program.stdout.readline()
            room.should(
                sorted(came.splitlines()) == [b"again", b"hello"],
                should=f"let {command[0]} hear the room",
                but=f"it printed {shown(came)}",
                mistake=mistake,
            )
        finally:
            program.kill()


@contextlib.contextmanager
def _deadline(program: subprocess.Popen, seconds: float) -> Iterator[None]:
    """End the program, and so its output, when the block takes longer."""
    timer = threading.Timer(seconds * scale(), program.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@scenario()
def nc_is_a_member(room: Room) -> None:
    """nc is a full member of the room."""
    _member(room, "nc", *map(str, room.address))


@scenario()
def ncat_is_a_member(room: Room) -> None:
    """ncat is a full member of the room."""
    _member(room, "ncat", *map(str, room.address))


@scenario()
def socat_is_a_member(room: Room) -> None:
    """socat is a full member of the room."""
    _member(room, "socat", "-", f"TCP:{room.address[0]}:{room.address[1]}")

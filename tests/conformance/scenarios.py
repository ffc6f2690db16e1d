"""What any line relay must do, one function a case: each has a Room with a server in it, and raises Fault.

pytest runs them all over a server of its own (test_conformance.py); the judge of exercise 4.7 runs the quick ones.
A case leaves nothing behind but clients that it closes, so that one server may be given many cases.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.conformance.room import Room

LONGEST_LINE = 65_536  # bytes, newline included


@dataclass(frozen=True)
class Scenario:
    """One case. quick: well under a second on a correct server; ours: needs more than the wire, such as options."""

    name: str
    title: str
    run: Callable[[Room], None]
    quick: bool
    needs_pid: bool


SCENARIOS: dict[str, Scenario] = {}


def scenario(*, quick: bool = True, needs_pid: bool = False):
    """Enter a function into SCENARIOS under its name."""

    def enter(function: Callable[[Room], None]) -> Callable[[Room], None]:
        title = (function.__doc__ or "").strip().splitlines()[0]
        SCENARIOS[function.__name__] = Scenario(function.__name__, title, function, quick, needs_pid)
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
        # Another's line makes sure that the server has looked at each byte alone.
        other.send_line(b"between")
        room.receives(
            reader,
            b"between\n",
            should="relay nothing of a line before its newline is there",
            mistake="chunks relayed as they come, instead of lines",
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
            mistake="one line taken from each chunk, the rest forgotten until more comes",
        )


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

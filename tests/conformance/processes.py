"""What a server must do as a process: how it starts and ends, what limits it bears. Each case is given a Server."""

import contextlib
import re
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass

from chatlab.launch import LaunchError
from chatlab.launch.program import describe_status
from chatlab.load import Client, LoadError, admit
from chatlab.load.client import shown
from tests.conformance import looks, pouring
from tests.conformance.room import Fault, Room, likely
from tests.conformance.server import Server, listens

TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Case:
    """One case. ours: only for servers with the options of this course's."""

    name: str
    title: str
    run: Callable[[Server], None]
    ours: bool


CASES: dict[str, Case] = {}


def case(*, ours: bool = False):
    """Enter a function into CASES under its name."""

    def enter(function: Callable[[Server], None]) -> Callable[[Server], None]:
        title = (function.__doc__ or "").strip().splitlines()[0]
        CASES[function.__name__] = Case(function.__name__, title, function, ours)
        return function

    return enter


# Start


@case(ours=True)
def says_where_it_listens(server: Server) -> None:
    """With --port 0 the kernel chooses, and one line on standard output says where."""
    program = server.launch(0)
    with program:
        with contextlib.suppress(LaunchError):
            program.wait_for(lambda: "\n" in program.output, "readiness line")
        should(
            re.fullmatch(r"listening on 127\.0\.0\.1:[1-9]\d*\n", program.output),
            should="print one line when it is ready, listening on 127.0.0.1:PORT, at once (flush=True)",
            but=f"it printed {shown(program.output.encode())}",
            mistake="standard output is a pipe here, so that print keeps its text in a buffer",
        )
        with Room(program.address) as room:
            room.join(2)


@case()
def port_in_use(server: Server) -> None:
    """A port that is in use is one line on standard error, and exit status 1."""
    with server.start() as running:
        second = server.launch(running.port)
        with second:
            status = ended(second, "end when its port is in use")
        _one_line(second, status, "when the port is in use", ours=server.ours)


@case(ours=True)
def bad_port(server: Server) -> None:
    """A port that is none is one line on standard error, and a status that is not 0."""
    for port in ("70000", "-1", "http"):
        program = server.launch(port)
        with program:
            status = ended(program, f"end when the port is {port}")
        _one_line(program, status, f"when the port is {port}", ours=False)


def _one_line(program, status: int, when: str, *, ours: bool) -> None:
    should(
        status == 1 if ours else status not in (0, None),
        should=f"end with status 1 {when}" if ours else f"end with an error {when}",
        but=describe_status(status),
        mistake="the error is caught, and forgotten",
    )
    lines = program.log.strip().splitlines()
    should(
        len(lines) == 1 or not ours and lines and TRACEBACK not in program.log,
        should=f"say what is wrong in one line {when}",
        but=f"it said {shown(program.log.encode())}",
        mistake="OSError of bind is not caught",
    )


@case()
def restart_on_the_same_port(server: Server) -> None:
    """It starts again at once on the port that it had, though old connections are in TIME_WAIT."""
    with server.start() as running:
        port = running.port
        with running.room() as room:
            clients = room.join(3)
            # The server ends first, so its end of the connections stays in TIME_WAIT for a minute.
            running.program.signal(signal.SIGTERM)
            ended(running.program, "end at SIGTERM")
            for client in clients:
                with contextlib.suppress(LoadError):
                    client.ended()
    again = server.launch(port)
    with again:
        with contextlib.suppress(LaunchError):
            again.wait_for(lambda: listens(port), "listening")
        should(
            listens(port),
            should="start again on the port that it has just used",
            but=shown(again.log.encode()),
            mistake="no SO_REUSEADDR before bind",
        )


# End


@case(ours=True)
def ends_at_sigint_and_sigterm(server: Server) -> None:
    """SIGINT and SIGTERM end it without a traceback, and its clients see the end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with server.start() as running, running.room() as room:
            clients = room.join(3)
            clients[0].send(b"half a line")
            running.program.signal(number)
            status = ended(running.program, f"end at {number.name}")
            should(
                TRACEBACK not in running.program.log and status in (0, -number, 128 + number, 1),
                should=f"end at {number.name} without a traceback",
                but=f"{describe_status(status)}, and it said {shown(running.program.log.encode())}",
                mistake="KeyboardInterrupt is not caught, or a handler raises in the middle of anything",
            )
            for client in clients:
                with likely("close its connections at its end", "a child still holds a copy of the connection"):
                    client.ended()


# Limits


@case(ours=True)
def room_for_two(server: Server) -> None:
    """With --max-clients 2 a third gets one notice and a clean close, even if it has said something already."""
    with server.start("--max-clients", "2") as running, running.room() as room:
        first, second = room.join(2)
        for number in range(5):
            with room.held():  # so that it has said something by the time it is accepted
                third = room.connect()
                third.send(b"hello, can you hear me?\n" * (1000 if number % 2 else 1))
            with likely("turn a third client away with a notice", "it is left waiting"):
                how = third.ended()
            should(
                how == "end of file" and re.fullmatch(rb"\* [^\n]+\n", bytes(third.received)),
                should="give a client that is too many one notice, and end of file",
                but=f"{shown(bytes(third.received))} came, then {how}",
                mistake="a close over bytes that were not read sends RST, which turns the notice into an error",
            )
        room.settle(first, second)
        room.nothing_else(second, mistake="a client that is turned away is relayed nevertheless")
        second.close()
        fourth = _gets_in(room, first)
        room.settle(fourth, first)


def _gets_in(room: Room, first: Client) -> Client:
    """A newcomer tries until it is let in: a server sees that somebody has left when it next looks."""
    for _ in looks.tries(room):
        newcomer = room.connect()
        with contextlib.suppress(LoadError):
            admit([first, newcomer])
            return newcomer
        newcomer.close()
    raise Fault("let newcomers in once others have left", "nobody gets in any more", "who has left is still counted")


@case()
def out_of_descriptors(server: Server) -> None:
    """Without descriptors it sleeps, and newcomers get in again once some are free."""
    with server.start() as running, running.room() as room:
        first, second, *others = room.join(12)
        limit = max(looks.procfs.descriptors(running.pid)) + 3
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (limit, limit))
        waiting = [room.connect() for _ in range(8)]  # two get in, the kernel keeps the others in the listener's queue
        room.settle(first, second)
        looks.rests(room, "at EMFILE the listener stays readable: poll it no more for a while")
        for other in others:
            other.close()
        _are_in(room, first, waiting)


def _are_in(room: Room, speaker: Client, waiting: list[Client]) -> None:
    with likely(
        "let those who wait in once descriptors are free",
        "at EMFILE the listener is left out of the poll set for ever, or the server ends",
    ):
        for client in waiting:
            for _ in looks.tries(room):
                speaker.send_line(b"are you in?")
                if client.arrived():
                    break
            else:
                raise LoadError("one who waited hears nothing")


@case(ours=True)
def half_close_ends(server: Server) -> None:
    """With --half-close-seconds 0.2 a client that has ended its input is let go after that time."""
    with server.start("--half-close-seconds", "0.2") as running, running.room() as room:
        sender, other, reader = room.join(3)
        sender.end_input()
        with likely("close a half-closed connection in the end", "a client that has gone in silence is kept for ever"):
            how = sender.ended()
        should(how == "end of file", should="end it with FIN", but=how, mistake="a close over unread bytes")
        room.settle(other, reader)
        running_descriptors = looks.descriptors(room)
        for _ in range(3):
            with room.connect() as silent:
                silent.end_input()
        for _ in looks.tries(room):
            if looks.descriptors(room) == running_descriptors:
                return
        raise Fault(
            "forget clients that close in a silent room",
            f"{looks.descriptors(room)} descriptors are open instead of {running_descriptors}",
            "a close looks like a half-close, and nothing is sent that would tell",
        )


@case(ours=True)
def reset_before_it_is_turned_away(server: Server) -> None:
    """With --max-clients 3 newcomers that are reset at once, while senders wait for a reader, harm nobody."""
    limits = ("--max-clients", "3", "--queue-bytes", "65536", "--stall-seconds", "0.5")
    with server.start(*limits) as running, running.room() as room:
        sender, reader, _ = room.join(3, receive_buffer=64 * 1024)
        text = pouring.lines(4 << 20)
        try:
            with pouring.Flow(room, sender, text, [reader]) as flow:
                while len(flow.came[reader]) < len(text) and not flow.stands_still():
                    if not flow.turn(pouring.LAZY_SECONDS):  # it stands still until the third is ended
                        with room.held():
                            room.connect().reset()
            room.settle(sender, reader)
        except (Fault, LoadError, OSError) as error:
            fell = TRACEBACK in running.program.log
            raise Fault(
                "go on when a newcomer that is turned away is gone already",
                "an exception ended the server" if fell else getattr(error, "but", str(error)),
                "what is forgotten at the failed send of the notice is polled afterwards: a descriptor that is closed",
            ) from error


@case(ours=True)
def smaller_queues(server: Server) -> None:
    """With --queue-bytes 65536 and --stall-seconds 0.3 one that never reads is ended sooner, and nobody else."""
    with server.start("--queue-bytes", "65536", "--stall-seconds", "0.3") as running, running.room() as room:
        sender, reader, stuck = room.join(3, receive_buffer=64 * 1024)
        pouring.pour(room, sender, pouring.lines(8 << 20), [reader])
        with likely("end a reader whose queue stays full", "queues without a bound"):
            stuck.ended()


def ended(program, what: str) -> int:
    """The program's exit status. Raises Fault when it does not end."""
    try:
        return program.wait()
    except LaunchError as error:
        raise Fault(what, str(error), "the signal, or the error, is lost in the loop") from error


def should(holds: object, *, should: str, but: str, mistake: str) -> None:
    """Raise Fault unless it holds."""
    if not holds:
        raise Fault(should, but, mistake)

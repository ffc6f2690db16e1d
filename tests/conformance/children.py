"""What a server with a process for each client must do besides, one function a case: each is given a Room with a pid.

What is killed or frozen here is a child: a process below the server's, which holds the server's end of a client's
connection. A server that has none such is not meant, and is left out: DoesNotApply.
"""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager

from chatlab import procfs
from chatlab.launch.program import scale
from chatlab.load import Client, admit
from tests.conformance import looks, pouring
from tests.conformance.room import Fault, Room, frozen, kill, likely
from tests.conformance.scenarios import Scenario, scenario

MEBIBYTE = 1 << 20
SAID_TO_THE_FROZEN = 600  # more than the 277 small records that fill a socketpair
KILL_AT_BYTES = (200_000, 400_000)
GONE_SECONDS = 1.0
LOOK_SECONDS = 0.002

FORK_CASES: dict[str, Scenario] = {}
fork_case = functools.partial(scenario, needs_pid=True, into=FORK_CASES)


@fork_case()
def killed_child_costs_its_client_only(room: Room) -> None:
    """A child that is killed costs only its own client: the others lose nothing, the room goes on, no zombie stays."""
    sender, reader, *victims = room.join(7)
    first, *others = looks.children_of(room, victims)
    victims[0].send(b"half a line")
    text = pouring.lines(MEBIBYTE)
    to_kill = [[first], others]  # one alone; then many at once, for whose end there may be one SIGCHLD only

    def kill_some(done: int) -> None:
        if to_kill and done > KILL_AT_BYTES[-len(to_kill)]:
            with room.held():
                for child in to_kill.pop(0):
                    kill(child)

    with blamed_on("the end of one child ends the server, or its turn"):
        pouring.pour(room, sender, text, [reader], meanwhile=kill_some)
        room.settle(sender, reader)
    for victim in victims:
        with likely("end the connection of a client whose child was killed", "another process holds a copy of it"):
            victim.ended()
        room.should(
            text.startswith(victim.received),
            should="send a client nothing but the room's lines until its child is killed",
            but=lambda victim=victim: (
                f"{len(victim.received):,} bytes came that are not the beginning of what was said"
            ),
            mistake="what is in the memory of one that has died is taken for whole",
        )
    room.nothing_else(reader, mistake="half a line of a client whose child was killed is relayed")
    _no_zombies(room)
    with likely("let newcomers in after children were killed", "the places of those that were killed are lost"):
        admit([sender, reader, *(room.connect() for _ in victims)])


@contextmanager
def blamed_on(mistake: str) -> Iterator[None]:
    """In its block what goes wrong has this likely mistake."""
    try:
        yield
    except Fault as fault:
        raise Fault(fault.should, fault.but, mistake) from None


def _no_zombies(room: Room) -> None:
    for _ in looks.tries(room):
        if not (left := looks.zombies(room)):
            return
    raise Fault(
        "wait for every child that has ended",
        f"{len(left)} {'zombies stay' if len(left) > 1 else 'zombie stays'}",
        "one waitpid for many children, or none for one that was killed",
    )


@fork_case()
def frozen_child_catches_up(room: Room) -> None:
    """The client of a child that is frozen for a while gets everything afterwards; the room goes on meanwhile."""
    sender, reader, slow = room.join(3)
    said = b"".join(b"line %d\n" % number for number in range(SAID_TO_THE_FROZEN))
    with frozen(*looks.children_of(room, [slow])):
        for line in said.splitlines(keepends=True):
            sender.send(line)
            room.receives(
                reader,
                line,
                should="go on while a child is frozen",
                mistake="a message to a child that waits until it is read: a socketpair holds about 277 small ones",
            )
        slow.send_line(b"said in the cold")
        looks.rests(room, "a child that cannot take its message now is asked again and again")
    room.receives(
        slow,
        said,
        should="relay to the client of a child that was frozen all that was said meanwhile, in order",
        mistake="a message stands for one line, or the newest line is written over one that was not read",
    )
    room.receives(reader, b"said in the cold\n", mistake="what a frozen child's client has said is lost")


@fork_case(quick=False)
def child_that_stays_frozen(room: Room) -> None:
    """A child that stays frozen is ended when others have to wait for it; its client sees the end."""
    sender, reader, stuck = room.join(3, receive_buffer=64 * 1024)
    with frozen(*looks.children_of(room, [stuck])):
        with blamed_on(
            "others wait for a frozen child without end; or for its end, while SIGTERM waits until it thaws"
        ):
            pouring.pour(room, sender, pouring.lines(8 * MEBIBYTE), [reader])
        with likely("end the connection of a client whose child stays frozen", "another process holds a copy of it"):
            stuck.ended()
        _no_zombies(room)
        room.settle(sender, reader)


@fork_case()
def killed_parent_takes_its_children_along(room: Room) -> None:
    """When the parent is killed every child is gone within a second, a frozen one too, and the clients see the end."""
    clients = room.join(4)
    children = {pid: procfs.stat(pid) for pid in looks.children_of(room, clients)}
    with frozen(list(children)[-1]):
        kill(room.needs_pid())
        deadline = time.monotonic() + GONE_SECONDS * scale()
        while (left := [pid for pid, stat in children.items() if _lives(stat)]) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        room.should(
            not left,
            should=f"leave no child behind {GONE_SECONDS:g} s after the parent was killed",
            but=f"{len(left)} of {len(children)} live, {_states(left)}",
            mistake="a child does not see the end of its socketpair while a sibling holds a copy of the parent's end;"
            " one that is frozen sees nothing: prctl(2), PR_SET_PDEATHSIG",
        )
        for client in clients:
            with likely(
                "have its clients see the end when the parent is killed", "a process that is left holds a copy"
            ):
                client.ended()


def _lives(before: procfs.Stat) -> bool:
    now = procfs.stat(before.pid)
    return now is not None and now.start == before.start and now.state not in "ZX"


def _states(pids: list[int]) -> str:
    entries = [entry for entry in map(procfs.stat, pids) if entry]
    stopped = sum(entry.state in "Tt" for entry in entries)
    return f"{stopped} of these frozen"


@fork_case()
def child_holds_only_its_own(room: Room) -> None:
    """A child holds its client's socket and one end of a socketpair: no listener, and nothing of its siblings'."""
    clients = room.join(2)
    looks.children_of(room, clients)
    clients += room.join(2)
    clients.pop(1).close()
    clients += room.join(2)
    children = looks.children_of(room, clients)
    for client, child in zip(clients, children, strict=True):
        for _ in looks.tries(room):  # the last one may be letting go still
            if not (others := _not_its_own(room, client, child)):
                break
        room.should(
            not others,
            should="leave a child with its client's socket and one end of a socketpair, and nothing else of the room",
            but=f"the child of client {clients.index(client)} has {', '.join(others)}",
            mistake="what the parent has open at the fork is open in the child, too: the child closes it",
        )


def _not_its_own(room: Room, client: Client, child: int) -> list[str]:
    """What a child has open that it must not, in words."""
    open_there = procfs.descriptors(child)
    standard = {open_there.get(number) for number in range(3)}
    names = [name for name in open_there.values() if name not in standard]
    ends = {f"socket:[{end.inode}]": end for end in looks.ends(room)}
    found = ["the listener" for name in names if name in ends and ends[name].state == "LISTEN"]
    siblings = [
        name for name in names if name in ends and ends[name].state != "LISTEN" and not looks.is_of(ends[name], client)
    ]
    pairs = [name for name in names if name.startswith("socket:") and name not in ends]
    epolls = [name for name in names if "eventpoll" in name]
    found += [f"{len(siblings)} connections of other clients"] if siblings else []
    found += [f"{len(pairs)} ends of socketpairs"] if len(pairs) > 1 else []
    return found + ([f"{len(epolls)} epolls, one of them its parent's"] if len(epolls) > 1 else [])

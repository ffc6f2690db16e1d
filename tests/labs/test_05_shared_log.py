"""Lab 05's shared log by itself: a state machine over its writers, readers and parent, and a stress of real processes.

The state machine does in one process what parent and children do, in any order, on a log so small that it wraps all the
time; a model in plain Python says what each reader must get. That it would notice a mistake is shown by some that are
planted in a copy of shared_log.py. What only happens between processes is left to shared_log_stress.py, beside this.
"""

import re
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chatlab.launch import run

SOURCE = Path(__file__).resolve().parents[2] / "labs/05_epoll_fork_shm/shared_log.py"
STRESS = "tests/labs/shared_log_stress.py"
SLOTS, LINE_BYTES, ENTRIES = 3, 16, 8
WHICH = st.integers(0, SLOTS - 1)
LETTERS = bytes(set(range(256)) - {10})
RECORDS = 100_000
STRESS_SECONDS = 60.0
FREED_BEFORE_ALL_HAVE_READ = (
    "end = min([ordered, *self.cursors])",
    "end = ordered",
)

STEPS = settings(
    derandomize=True,
    deadline=None,
    database=None,
    stateful_step_count=60,
    suppress_health_check=list(HealthCheck),
)


def with_mistake(old: str, new: str) -> str:
    source = SOURCE.read_text()
    assert source.count(old) == 1, f"shared_log.py has changed: {old!r} stands in it {source.count(old)} times"
    return source.replace(old, new)


def small_log(old: str = "", new: str = "") -> ModuleType:
    """shared_log.py as a module of its own, for lines of 16 bytes, and with one piece of it replaced."""
    module = ModuleType("small_shared_log")
    exec(compile(with_mistake(old, new) if old else SOURCE.read_text(), str(SOURCE), "exec"), vars(module))
    module.LINE_BYTES = LINE_BYTES
    return module


class Member:
    """What the model knows of a slot's child: what it has said, and what it must be told."""

    def __init__(self, module: ModuleType, log, slot: int):
        self.slot = slot
        log.enter(slot)
        self.writer, self.reader = module.Writer(log, slot), module.Reader(log, slot)
        self.partial = b""
        self.speaks = self.hears = True
        self.alive = True
        self.must_hear = b""
        self.first = self.cursor = self.reader.cursor


def machine(module: ModuleType, slots: int = SLOTS) -> type[RuleBasedStateMachine]:
    """A state machine over this copy of shared_log.py."""

    class Room(RuleBasedStateMachine):
        @initialize(ring_bytes=st.integers(2 * LINE_BYTES, 3 * LINE_BYTES))
        def open(self, ring_bytes):
            self.log = module.SharedLog(slots, ring_bytes, ENTRIES)
            self.members: dict[int, Member] = {}
            self.said = dict.fromkeys(range(slots), b"")  # whole lines that were not gathered yet
            self.position = dict.fromkeys(range(slots), 0)  # where in its slot's positions that begins
            self.gathered: list[tuple[Member, int, bytes]] = []  # entries: who, position, bytes
            self.ordered = 0  # so many of them are published
            self.letters = 0
            self.seen: dict[int, int] = {}  # the fields that never go back, as they were
            for slot in range(slots - 1):
                self.members[slot] = Member(module, self.log, slot)

        # What children do.

        def some(self, holds) -> list[Member]:
            return [member for member in self.members.values() if member.alive and holds(member)]

        @rule(which=WHICH, lengths=st.lists(st.integers(0, LINE_BYTES // 2), min_size=1, max_size=4))
        def receives_lines(self, which, lengths):
            self.receives(which, [*lengths, 0])

        @rule(which=WHICH, length=st.integers(1, LINE_BYTES))
        def receives_a_piece(self, which, length):
            self.receives(which, [length])

        @rule(which=WHICH, lengths=st.lists(st.integers(0, LINE_BYTES // 2), min_size=1, max_size=4))
        def speaks_again(self, which, lengths):
            """Said, gathered, published: the room's everyday."""
            self.receives(which, [*lengths, 0])
            self.turns()

        def receives(self, which, lengths):
            """Lines of these lengths come, the last one without its newline, as much of them as there is space for."""
            members = self.some(lambda member: member.speaks and member.writer.space())
            if not members:
                return
            member = members[which % len(members)]
            space = member.writer.space()
            assert len(space) <= LINE_BYTES
            self.is_free(member, len(space))
            came = b"\n".join(bytes(self.letter() for _ in range(length)) for length in lengths)
            came = came[: len(space)]
            space[: len(came)] = came
            first, newline, _ = (member.partial + came).partition(b"\n")
            fits = len(first) + 1 <= LINE_BYTES
            assert member.writer.add(len(came)) == fits
            if not fits:
                member.speaks = False
                return
            whole, newline, member.partial = (member.partial + came).rpartition(b"\n")
            self.said[member.slot] += whole + newline

        def letter(self) -> int:
            self.letters += 1
            return LETTERS[self.letters % len(LETTERS)]

        def ends_its_input(self, member: Member) -> None:
            if member.partial:
                self.is_free(member, 0)
                self.said[member.slot] += member.partial + b"\n"
            member.writer.complete()
            member.speaks, member.partial = False, b""

        def is_free(self, member: Member, count: int) -> None:
            """May so many bytes and a newline be written? None of those that they replace is to be read still."""
            end = self.position[member.slot] + len(self.said[member.slot]) + len(member.partial) + count + 1
            for place, position in self.unread(member.slot):
                assert position + self.log.ring_bytes >= end, f"entry {place} would be written over"

        def unread(self, slot: int) -> list[tuple[int, int]]:
            """Number and position of each entry of a slot that is not published, or that somebody has still to read."""
            return [
                (place, position)
                for place, (author, position, _) in enumerate(self.gathered)
                if author.slot == slot
                and (place >= self.ordered or any(self.wants(m, place) for m in self.members.values()))
            ]

        def wants(self, member: Member, place: int) -> bool:
            return member.alive and member.hears and self.gathered[place][0] is not member and place >= member.cursor

        @precondition(lambda self: self.some(lambda member: member.hears))
        @rule(which=WHICH, sent=st.integers(0, 3 * LINE_BYTES) | st.none())
        def hears(self, which, sent):
            """It takes what there is, and its connection a part of that, perhaps all; None: just the first entry."""
            members = self.some(lambda member: member.hears)
            member = members[which % len(members)]
            if sent is None and member.reader.take():
                sent = len(member.reader.views[0])
            self.deliver(member, sent or 0)

        @rule(slow=st.none() | WHICH)
        def all_hear(self, slow=None):
            """All, or all but one."""
            for member in self.some(lambda member: member.hears and member.slot != slow):
                while self.deliver(member, LINE_BYTES):
                    pass
            self.frees()

        def deliver(self, member: Member, most: int) -> int:
            reader = member.reader
            assert reader.take() == bool(member.must_hear), "there is something to send when there is something to hear"
            views = b"".join(reader.views)
            assert views == member.must_hear[: len(views)], "the others' bytes, once, in the one order"
            reader.done(min(most, len(views)))
            member.must_hear = member.must_hear[min(most, len(views)) :]
            self.moved(member)
            return min(most, len(views))

        def moved(self, member: Member) -> None:
            """The cursor has moved as far as it could: behind what was sent whole, and no further."""
            assert member.reader.cursor == self.log.words[self.log.cursor(member.slot)] >= member.cursor
            member.cursor = member.reader.cursor
            left = sum(
                len(said) for author, _, said in self.gathered[member.cursor : self.ordered] if author is not member
            )
            assert left >= len(member.must_hear), "it is told that more was read than was sent"

        def hears_no_more(self, member: Member) -> None:
            member.reader.leave()
            member.hears = False

        @precondition(lambda self: self.some(lambda member: True))
        @rule(which=WHICH, how=st.sampled_from(["FIN", "RST", "SIGKILL"]))
        def ends(self, which, how):
            members = self.some(lambda member: True)
            member = members[which % len(members)]
            if how == "SIGKILL":
                self.dies(member)
            elif how == "FIN" and member.speaks:
                self.ends_its_input(member)
            elif how == "RST" and member.hears:
                self.hears_no_more(member)

        # What the parent does.

        @rule(slot=st.integers(0, slots - 1))
        def gathers(self, slot):
            places = ENTRIES - (len(self.gathered) - self.log.words[self.log.FREED])
            said, all_of_it = self.said[slot], True
            while said:
                if not places:
                    all_of_it = False
                    break
                start = self.position[slot]
                count = min(len(said), self.log.ring_bytes - start % self.log.ring_bytes)
                self.gathered.append((self.members[slot], start, said[:count]))
                said, places = said[count:], places - 1
                self.position[slot] = start + count
            assert self.log.gather(slot) == all_of_it
            self.said[slot] = said
            assert all_of_it or self.log.crowded
            member = self.members.get(slot)
            if member and not member.alive and all_of_it:
                del self.members[slot]

        @rule()
        def turns(self):
            for slot in range(slots):
                self.gathers(slot)
            self.publishes()

        @rule()
        def publishes(self):
            published, self.ordered = self.ordered, len(self.gathered)
            assert self.log.publish() == (published < self.ordered)
            for member in self.some(lambda member: member.hears):
                new = self.gathered[max(published, member.first) : self.ordered]
                member.must_hear += b"".join(said for author, _, said in new if author is not member)

        @rule()
        def frees(self):
            self.log.free()
            cursors = [member.cursor for member in self.some(lambda member: member.hears)]
            assert self.log.words[self.log.FREED] == min([self.ordered, *cursors])
            for member in self.some(lambda member: member.hears):
                assert (self.log.progress(member.slot) is None) == (member.cursor >= self.ordered), "who is behind?"

        def dies(self, member: Member) -> None:
            """SIGKILL, and waitpid. What it had said is said; half a line is not."""
            member.alive = False
            self.log.leave(member.slot)
            self.gathers(member.slot)

        @precondition(lambda self: len(self.members) < slots)
        @rule(which=WHICH)
        def enters(self, which):
            """Somebody takes a slot over, and hears what is gathered from now on."""
            free = sorted(set(range(slots)) - set(self.members))
            slot = free[which % len(free)]
            self.members[slot] = Member(module, self.log, slot)
            assert self.members[slot].first == len(self.gathered)

        # What always holds.

        @invariant()
        def only_what_was_read_is_given_back(self):
            for slot in range(slots):
                freed = self.log.words[self.log.freed(slot)]
                assert freed <= min([self.position[slot], *(position for _, position in self.unread(slot))])
                said = self.position[slot] + len(self.said[slot])
                assert self.log.room(slot) == freed + self.log.ring_bytes - said

        @invariant()
        def nothing_goes_back(self):
            log, words = self.log, self.log.words
            fields = [log.ORDERED, log.FREED, *map(log.freed, range(slots)), *map(log.said, range(slots))]
            now = {field: words[field] for field in fields}
            assert all(now[field] >= value for field, value in self.seen.items())
            self.seen = now

        def teardown(self):
            """In the end everybody has heard everything, and all room is given back."""
            if not hasattr(self, "log"):
                return
            for _ in range(2 * LINE_BYTES):  # an entry or more each time
                self.turns()
                self.all_hear()
                if not any(self.said.values()):
                    break
            assert not any(self.said.values())
            assert all(not member.must_hear for member in self.some(lambda member: member.hears))
            assert [self.log.room(slot) for slot in range(slots)] == [self.log.ring_bytes] * slots

    return Room


def test_every_reader_gets_what_all_others_said():
    run_state_machine_as_test(machine(small_log()), settings=settings(STEPS, max_examples=150))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            "end = self.taken if whole == len(self.views) else self._ends[whole - 1] if whole else self.cursor",
            "end = self.taken",
            id="cursor-moved-before-all-is-sent",
        ),
        pytest.param("self._ends[whole - 1] if whole", "self._ends[whole] if whole", id="cursor-one-entry-too-far"),
        pytest.param(
            *FREED_BEFORE_ALL_HAVE_READ,
            id="freed-before-all-have-read",
        ),
        pytest.param("*others]), last)", "*others]))", id="all-bytes-freed-instead-of-the-last-readers-own"),
        pytest.param("self.received - 1\n", "self.received\n", id="no-byte-kept-for-the-newline"),
        pytest.param("self.log.ring_bytes - offset))]", "self.log.ring_bytes))]", id="received-beyond-the-rings-end"),
        pytest.param(
            "min(said, start - start % self.ring_bytes + self.ring_bytes)", "said", id="entry-beyond-the-rings-end"
        ),
        pytest.param(
            "start - start % self.ring_bytes + self.ring_bytes",
            "start - start % self.ring_bytes + self.ring_bytes - 1",
            id="wrap-one-byte-early",
        ),
        pytest.param(
            "self.publish(self.received - (start + count - last - 1))",
            "self.publish(self.received)",
            id="half-lines-said",
        ),
        pytest.param("+ 1 > LINE_BYTES", "> LINE_BYTES", id="line-one-byte-too-long"),
        pytest.param(
            "self.log.memory[self._ring + self.received % self.log.ring_bytes]",
            "self.log.memory[self._ring + self.received]",
            id="newline-beyond-the-rings-end",
        ),
        pytest.param(
            "- self.words[self.FREED] == self.entries:",
            "- self.words[self.FREED] > self.entries:",
            id="log-one-entry-too-full",
        ),
        pytest.param(
            "self.words[self.cursor(slot)] = self._ordered",
            "self.words[self.cursor(slot)] = self.words[self.ORDERED]",
            id="a-newcomer-hears-older-lines",
        ),
        pytest.param(
            "self.said = self.received = self.words[self._said]",
            "self.said = self.received = 0",
            id="positions-begin-anew",
        ),
        pytest.param("if slot != self.slot:", "if True:", id="its-own-words"),
        pytest.param(
            "self.views, self._ends = [], []\n        self.words[self._cursor] = NEVER",
            "self.views, self._ends = [], []",
            id="who-leaves-holds-all-up",
        ),
        pytest.param(
            "self.words[self.log.ORDERED]):\n                if number",
            "self.words[self.log.ORDERED] + 1):\n                if number",
            id="reads-what-is-not-published",
        ),
    ],
)
def test_a_mistake_is_found(old, new):
    module = small_log(old, new)
    with pytest.raises((AssertionError, module.Overrun)):
        run_state_machine_as_test(
            machine(module),
            settings=settings(STEPS, max_examples=1000, phases=[Phase.generate], report_multiple_bugs=False),
        )


# Real processes.


def test_real_processes_lose_tear_and_repeat_nothing():
    done = run(STRESS, "--records", RECORDS, timeout=STRESS_SECONDS)
    assert (done.returncode, done.log) == (0, "")
    says = f"{RECORDS} records, read {3 * RECORDS} times: each whole, once, and all in one order; stopped "
    assert done.output.startswith(says)
    assert int(done.output.removeprefix(says).split()[0]) > 0, "somebody was stopped meanwhile"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(*FREED_BEFORE_ALL_HAVE_READ, id="freed-before-all-have-read"),
        pytest.param(
            "self.words[self._freed] + self.log.ring_bytes - self.received - 1",
            "self.log.ring_bytes",
            id="written-over-before-it-is-freed",
        ),
    ],
)
def test_a_mistake_is_found_by_real_processes(tmp_path, old, new):
    (tmp_path / SOURCE.name).write_text(with_mistake(old, new))
    done = run(STRESS, "--records", RECORDS, timeout=STRESS_SECONDS, env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.output, done.log.count("\n")) == (1, "", 1)
    assert re.search("torn|should come|is no record|given back|already", done.log)


# A rule broken on purpose: the reader says so. Then the rarest of all cases, step by step.


class Trio:
    """Three children of one log, by name of their slot."""

    def __init__(self, module: ModuleType, ring_bytes: int = 48):
        self.log = module.SharedLog(SLOTS, ring_bytes, ENTRIES)
        for slot in range(SLOTS):
            self.log.enter(slot)
        self.writers = [module.Writer(self.log, slot) for slot in range(SLOTS)]
        self.readers = [module.Reader(self.log, slot) for slot in range(SLOTS)]

    def say(self, slot: int, *lines: bytes) -> None:
        """Each line is an entry of its own."""
        for line in lines:
            self.writers[slot].space()[: len(line)] = line
            assert self.writers[slot].add(len(line))
            assert self.log.gather(slot)
        self.log.publish()

    def hear(self, slot: int) -> bytes:
        """All that there is; it is sent whole."""
        heard = b""
        while self.readers[slot].take():
            heard += b"".join(self.readers[slot].views)
            self.readers[slot].done(sum(map(len, self.readers[slot].views)))
        return heard


def test_what_is_given_back_while_it_is_read_is_an_overrun():
    module = small_log()
    room = Trio(module)
    room.say(0, b"one\n")
    reader = room.readers[1]
    assert reader.take()
    room.log.words[room.log.FREED] = room.log.words[room.log.ORDERED]  # as if all had read it
    with pytest.raises(module.Overrun, match=r"^entry 0 was given back while it was being read$"):
        reader.done(4)


def test_an_entry_that_is_another_one_already_is_an_overrun():
    module = small_log()
    room = Trio(module)
    room.say(0, b"0\n")
    room.log.words[room.log.cursor(1)] = module.NEVER  # as if nobody were there
    for number in range(ENTRIES):
        room.say(0, b"%d\n" % number)
        assert room.hear(2)
        room.hear(0)
        room.log.free()
    with pytest.raises(module.Overrun, match=rf"^entry 0 of the log is entry {ENTRIES} already$"):
        room.readers[1].take()


@pytest.mark.parametrize("mistake", [None, ("max(position, self.words[self.freed(slot)])", "position")])
def test_what_the_last_reader_said_itself_is_given_back_early_and_once(mistake):
    """Nobody reads it any more, but the entries before it are still to come."""
    room = Trio(small_log(*(mistake or ("", ""))))
    freed = room.log.freed(0)
    room.say(0, b"own 1\n")
    room.say(1, b"other 1\n", b"other 2\n")
    room.say(0, b"own 2 own 2 own\n", b"own 3\n")
    assert [room.hear(slot) for slot in (1, 2)] != [b"", b""]
    assert room.readers[0].take()
    room.log.free()
    assert room.log.words[freed] == room.log.words[room.log.said(0)] == 28
    assert room.log.words[room.log.FREED] == 0
    room.readers[0].done(len(b"other 1\n"))  # so that entries 0 and 1 are read by all
    room.log.free()
    assert room.log.words[room.log.FREED] == 2
    assert (room.log.words[freed] == 28) == (mistake is None)

"""5.7 slots reused, with generations: a table played through move by move, and looked at from another process."""

import socket
import struct

import pytest

pytestmark = pytest.mark.exercise("5.7")
READ = "A slot, and who has it"
LONGEST_GAME = 150

HELPERS = """
import mmap, os, struct

def table(count):
    words = memoryview(mmap.mmap(-1, 8 * count))[: 8 * count].cast("Q")
    return [words, Slots(words)]

def play(count, moves):
    words, slots = table(count)
    given, story = [], []
    for move, who in moves:
        handle = given[who] if move != "allocate" and who >= 0 else -1 - who
        try:
            answer = slots.allocate() if move == "allocate" else getattr(slots, move)(handle)
        except Exception as error:
            answer = type(error).__name__
        if move == "allocate":
            given.append(answer)
        story.append([answer, list(words)])
    return story

class Forked:
    def __init__(self, count, sock):
        self.words, self.slots = table(count)
        self.given = [self.slots.allocate()]
        self.pid = os.fork()
        if self.pid == 0:
            try:
                while message := sock.recv(8):
                    sock.sendall(b"yes" if self.slots.is_current(*struct.unpack("Q", message)) else b"no!")
            finally:
                os._exit(0)

    def allocate(self):
        self.given.append(self.slots.allocate())
        return self.given[-1]

    def free(self, handle):
        self.slots.free(handle)

    def handles(self):
        return self.given
"""


class Game:
    """A Slots(count) and what must become of each move. Handles are named by the place of their allocation."""

    def __init__(self, student, count):
        self.student, self.count = student, count
        self.moves = []

    def allocate(self):
        """Somebody comes. Returns the number of the allocation."""
        self.moves.append(["allocate", 0])
        return sum(move == "allocate" for move, _ in self.moves) - 1

    def free(self, who):
        self.moves.append(["free", who])

    def ask(self, who):
        """Is this one's handle current? who: the number of an allocation."""
        self.moves.append(["is_current", who])

    def ask_stranger(self, handle):
        """Is a handle that nobody has been given current?"""
        self.moves.append(["is_current", -1 - handle])

    def free_stranger(self, handle):
        self.moves.append(["free", -1 - handle])

    def play(self, mistake):
        """Let the student's process make all moves, then hold what came of each against what must."""
        self.student.define(HELPERS)
        step = f"Slots over {self.count} words"
        story = self.student.call("play", self.count, self.moves, step=step).value
        self.words, self.given = [0] * self.count, []
        for (move, who), (answer, words) in zip(self.moves, story, strict=True):
            if move == "allocate":
                self._allocated(answer, mistake)
            else:
                handle = self.given[who] if who >= 0 else -1 - who
                self.student.step(f"{move}({handle}): generation {handle // self.count} of slot {handle % self.count}")
                self._answered(move, handle, answer, mistake)
            self.student.should(
                words == self.words,
                should=f"have the generations {self.words}",
                but=f"they are {words}",
                mistake=mistake,
                read=READ,
            )

    def _allocated(self, answer, mistake):
        self.student.step(f"allocate() gives {answer!r}")
        free = [slot for slot, generation in enumerate(self.words) if generation % 2 == 0]
        wanted = [(self.words[slot] + 1) * self.count + slot for slot in free]
        self.student.should(
            (answer in wanted and type(answer) is int) if free else answer is None,
            should=f"give one of the handles {wanted[:6]}" if free else "give None: no slot is free",
            but=f"it gave {answer!r}",
            mistake=mistake,
            read=READ,
        )
        self.given.append(answer)
        if free:
            self.words[answer % self.count] += 1

    def _answered(self, move, handle, answer, mistake):
        slot = handle % self.count
        current = self.words[slot] == handle // self.count and self.words[slot] % 2 == 1
        if move == "free":
            wanted = None if current else "StaleHandle"
            self.words[slot] += current
        else:
            wanted = current
        self.student.should(
            answer is wanted if wanted is not None and move == "is_current" else answer == wanted,
            should={None: "free the slot", "StaleHandle": "raise StaleHandle"}.get(wanted, f"give {wanted!r}"),
            but=f"it gave {answer!r}" if answer in (None, True, False) else f"it raised {answer}",
            mistake=mistake,
            read=READ,
        )


def test_slots_are_given_out_and_given_back(student):
    """Every slot is given out once at a time, and again when it is free."""
    game = Game(student, student.random.randrange(3, 7))
    people = [game.allocate() for _ in range(game.count)]
    game.allocate()
    for who in student.random.sample(people, 2):
        game.free(who)
        game.allocate()
        game.allocate()
    game.play("a slot given to two, or none given although one is free")


def test_a_handle_is_good_once(student):
    """A handle is good until its slot is freed, and never again."""
    game = Game(student, student.random.randrange(2, 5))
    first = game.allocate()
    game.ask(first)
    others = [game.allocate() for _ in range(game.count - 1)]
    game.free(first)
    game.ask(first)
    for _ in range(3):
        newcomer = game.allocate()
        for who in (first, newcomer, *others):
            game.ask(who)
        game.free(newcomer)
        game.ask(newcomer)
        game.ask(first)
    game.play("a slot's number, without its generation: a late message of the old owner is taken for the new one's")


def test_nobody_s_handle_is_never_current(student):
    """A handle that nobody has been given is not current."""
    game = Game(student, student.random.randrange(2, 5))
    for handle in (0, game.count - 1, 2 * game.count, 7 * game.count, 2**64 - 1):
        game.ask_stranger(handle)
    who = game.allocate()
    for generation in (0, 2, 3):
        for slot in range(game.count):
            game.ask_stranger(generation * game.count + slot)
    game.free(who)
    for slot in range(game.count):
        game.ask_stranger(2 * game.count + slot)
    game.play("the handle of a free slot's generation: an even one is nobody's")


def test_a_stale_handle_frees_nothing(student):
    """A handle that is not current frees nothing: not a second time, and not the next owner."""
    game = Game(student, student.random.randrange(2, 5))
    first = game.allocate()
    game.allocate()
    game.free(first)
    game.free(first)
    newcomer = game.allocate()
    game.free(first)
    game.ask(newcomer)
    game.free_stranger(2 * game.count)
    game.play("free without a look at the handle: the second one to free a slot takes it from its next owner")


def test_nobody_moves(student):
    """Whoever comes and goes, everybody else stays in the slot that he has."""
    game = Game(student, 8)
    here = [game.allocate() for _ in range(8)]
    for _ in range(LONGEST_GAME // 3):
        if here and student.random.random() < 0.5:
            leaver = here.pop(student.random.randrange(len(here)))
            game.free(leaver)
        elif len(here) < 8:
            here.append(game.allocate())
        for who in here[:2]:
            game.ask(who)
    game.play("a table that closes its gaps: who is moved has a handle that says another slot")


def test_other_processes_see_it(student):
    """A process that was forked before sees who has which slot now, and knows a late message."""
    student.define(HELPERS)
    mine, theirs = socket.socketpair()
    mine.settimeout(max(1.0, student.remaining() - 1))
    forked = student.call("Forked", 3, theirs, step="allocate() in a table of 3 slots, then fork").value
    theirs.close()

    def must_say(handle, current):
        student.step(f"the child is sent a message of handle {handle}: is_current({handle})?")
        mine.sendall(struct.pack("Q", handle))
        student.receives(
            mine,
            b"yes" if current else b"no!",
            should=f"say {current} in the child",
            mistake="generations kept in the object: fork has copied it, so the child does not see what happens later"
            "; only what is in the shared words is seen by all",
            read=READ,
        )

    [first] = forked.call("handles", step="look at the handle").value
    must_say(first, True)
    forked.call("free", first, step=f"free({first}) in the parent")
    must_say(first, False)
    for _ in range(3):
        newcomer = forked.call("allocate", step="allocate() in the parent").value
        must_say(newcomer, True)
        must_say(first, False)

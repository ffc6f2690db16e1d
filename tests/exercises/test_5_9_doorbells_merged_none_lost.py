"""5.9 doorbells merged, none lost: rings at every moment that matters, the one between two steps of hear among them."""

import socket

import pytest

pytestmark = pytest.mark.exercise("5.9")
READ = "Doorbells"
LOST = (
    "look, then drain: a ring that comes in between is taken, and nobody has seen what it told of. Drain first: then"
    " look sees it, or the ring is still there"
)
MOST_WAKE_UPS = 2
ENDS = 3  # an end may be told with the last rings, or by the next hear

HELPERS = """
def ring_often(bell, count):
    return sorted({repr(bell.ring()) for _ in range(count)})

def hear(bell):
    looks = []
    return [bell.hear(lambda: looks.append(1)), len(looks)]

def hear_and_be_rung(bell, other_end):
    looks = []

    def look():
        looks.append(1)
        other_end.send(b".")

    return [bell.hear(look), len(looks)]

def attend(bell, sock):
    looks = []

    def look():
        looks.append(1)
        sock.sendall(b"look %d." % len(looks))
        sock.recv(1)

    bell.attend(look)
    return len(looks)
"""


class Door:
    """A Doorbell over one end of a socketpair, in the student's process; the judge has the other end."""

    def __init__(self, student):
        self.student = student
        self.end, theirs = socket.socketpair()
        self.end.setblocking(False)
        student.define(HELPERS)
        self.bell = student.call("Doorbell", theirs, step="Doorbell(one end of a socketpair)").value
        theirs.close()

    def ring(self, count=1):
        """Ring from the judge's side, each ring by a send of its own."""
        self.student.step(f"the other side rings {'once' if count == 1 else f'{count} times'}")
        for _ in range(count):
            self.end.send(b".")

    def close(self):
        """The other side goes."""
        self.student.step("the other side closes its end")
        self.end.close()

    def hears(self, result, looks, mistake):
        """hear(look) must return this, with so many looks."""
        hangs = "a recv that waits: hear is called when something has come, or for nothing"
        value = self.student.call("hear", self.bell, step="hear(look)", hangs=hangs, read=READ).value
        self.student.should(
            value == [result, looks],
            should=f"return {result}, with {looks or 'no'} call{'' if looks == 1 else 's'} of look",
            but=f"it returned {value[0]!r}, with {value[1] or 'no'} call{'' if value[1] == 1 else 's'} of look",
            mistake=mistake,
            read=READ,
        )

    def hears_the_end(self, mistake):
        """hear must come to False within some calls, and look in the last of them."""
        for _ in range(ENDS):
            value = self.student.call("hear", self.bell, step="hear(look)", raises=True, read=READ)
            self.student.should(
                value.exception is None,
                should="take it as the end, and return False",
                but=f"it raised {value.exception}",
                mistake="ECONNRESET not caught: the other side has gone with rings of ours unheard",
                read=READ,
            )
            if value.value[0] is False:
                break
        self.student.should(
            value.value == [False, 1],
            should="return False at the end, with a last call of look",
            but=f"it returned {value.value[0]!r}, with {value.value[1] or 'no'} call of look",
            mistake=mistake,
            read=READ,
        )


def test_many_rings_are_one(student):
    """All rings that have come are taken as one."""
    door = Door(student)
    door.hears(True, 0, "look called for nothing")
    for count in (1, student.random.randrange(50, 150), 250):
        door.ring(count)
        door.hears(True, 1, "a look for each ring")
        door.hears(True, 0, "one ring taken at a time: hundreds of rings are then hundreds of looks, for nothing")


def test_ring_never_waits(student):
    """ring comes back at once, however full the socketpair is."""
    door = Door(student)
    hangs = "a send that waits until the other side has heard: while that waits for you, nobody moves"
    step = "ring() 1500 times, unheard"
    for _ in range(2):
        call = student.call("ring_often", door.bell, 1500, step=step, hangs=hangs, raises=True, timeout=3)
        student.should(
            call.exception is None,
            should="return True each time",
            but=f"it raised {call.exception}",
            mistake="EAGAIN not caught: a full socketpair is full of rings, and so is good news",
            read=READ,
        )
        student.should(
            call.value == ["True"],
            should="return True each time",
            but=f"it returned {' and '.join(call.value)}",
            mistake="a full socketpair taken for a closed one",
            read=READ,
        )
        heard = len(door.end.recv(1 << 16))
        student.step(f"the other side hears them: {'some' if heard else 'no'} rings")
        student.should(heard, should="have rung", but="nothing has come", mistake="a ring that is not sent", read=READ)


def test_a_ring_that_comes_while_you_look(student):
    """A ring that comes while look is at work is heard the next time."""
    door = Door(student)
    door.ring()
    step = "hear(look), and while look is at work the other side rings again"
    value = student.call("hear_and_be_rung", door.bell, door.end, step=step).value
    student.should(
        value == [True, 1],
        should="return True, with one call of look",
        but=f"it returned {value[0]!r}, with {value[1]} calls of look",
        mistake="a ring in the middle of a look taken for something that must be heard before it ends",
        read=READ,
    )
    door.hears(True, 1, LOST)


def test_attend_loses_none(student):
    """attend looks again for whatever was rung for while it looked, and sleeps when there is nothing."""
    door = Door(student)
    mine, theirs = socket.socketpair()
    pending = student.start("attend", door.bell, theirs, step="attend(look)")
    theirs.close()
    door.ring()
    for number in range(1, 4):
        student.receives(
            mine,
            b"look %d." % number,
            should=f"look for the {('first', 'second', 'third')[number - 1]} time",
            mistake=LOST if number > 1 else "a ring that nobody hears",
            read=READ,
        )
        if number < 3:
            student.step("while look is at work the other side rings")
            with student.frozen():
                door.end.send(b".")
        mine.sendall(b"!")
    sleeps(student, "when all is heard")
    door.close()
    student.receives(mine, b"look 4.", should="look a last time", mistake="an end without a last look", read=READ)
    mine.sendall(b"!")
    looks = pending.result(hangs="an end that is not told: recv gives b'' for ever", read=READ).value
    student.should(looks == 4, should="return when the other end is closed", but=f"it looked {looks} times", read=READ)


def sleeps(student, when):
    """attend must sleep in the kernel, and not wake up again and again."""
    mistake = "a loop that hears again and again without a sleep in between, or wakes up each moment to look"
    student.sleeps(should=f"sleep {when}", mistake=mistake, read=READ, most_wake_ups=MOST_WAKE_UPS)


def test_the_end_is_told(student):
    """When the other end is closed hear returns False, after a last look, and ring does."""
    door = Door(student)
    door.ring(3)
    door.close()
    door.hears_the_end("an end without a look: what was done before it is never seen")
    student.step("another pair")
    door = Door(student)
    student.call("ring_often", door.bell, 2, step="ring() twice, unheard")
    door.close()
    door.hears_the_end("an end without a look: what was done before it is never seen")
    call = student.call("ring_often", door.bell, 2, step="ring() twice, with nobody there", raises=True)
    student.should(
        call.exception is None and call.value == ["False"],
        should="return False: nobody is there",
        but=f"it raised {call.exception}" if call.exception else f"it returned {' and '.join(call.value)}",
        mistake="EPIPE not caught, or every error taken for a full socketpair",
        read=READ,
    )

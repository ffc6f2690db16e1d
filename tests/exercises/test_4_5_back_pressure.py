"""4.5 back-pressure: when senders wait, and which reader has to go, from numbers alone."""

import pytest

pytestmark = pytest.mark.exercise("4.5")
READ = "A reader that does not read"

HELPERS = """
def play(limit, stall_seconds, story):
    pressure = BackPressure(limit, stall_seconds)
    answers = []
    for client, pending, now in story:
        if pending is None:
            pressure.left(client)
        elif client is not None:
            pressure.update(client, pending, now)
        wait = pressure.wait_seconds(now)
        stalled = pressure.stalled(now)
        answers.append((pressure.senders_wait(), sorted(stalled), wait))
    return answers
"""


class Story:
    """What a BackPressure hears, moment by moment, and what it must answer to each. Times are s from a random start."""

    def __init__(self, student):
        self.student = student
        self.limit = 4 * student.random.randrange(500, 5000)
        self.patience = student.random.choice([1.0, 2.0, 5.0])
        self.start = float(student.random.randrange(1, 10**6))
        self.moments = []

    def queue(self, client, part, seconds, wait, stalled=(), left=None):
        """At `seconds` of patience after the start the client's queue holds `part` of the limit; then senders must
        wait or not, these clients have to go, and `left` of the patience (None: no end) is how long poll may sleep."""
        pending = int(self.limit * part)
        words = f"client {client} has {pending} bytes pending"
        self._add(client, pending, seconds, words, wait, stalled, left)

    def leaves(self, client, seconds, wait, stalled=(), left=None):
        """A client is gone."""
        self._add(client, None, seconds, f"client {client} leaves", wait, stalled, left)

    def passes(self, seconds, wait, stalled=(), left=None):
        """Nothing happens but time."""
        self._add(None, 0, seconds, "nothing happens", wait, stalled, left)

    def _add(self, client, pending, seconds, words, *wanted):
        self.moments.append(((client, pending, self.start + seconds * self.patience), words, seconds, wanted))

    def play(self, mistakes):
        """Let it be heard, and compare. mistakes: for a wrong senders_wait, stalled and wait_seconds."""
        self.student.define(HELPERS)
        words = f"BackPressure({self.limit}, {self.patience:g}); time begins at {self.start:g} s"
        call = self.student.call("play", self.limit, self.patience, [moment[0] for moment in self.moments], step=words)
        for (_, said, seconds, wanted), answer in zip(self.moments, call.value, strict=True):
            self.student.step(f"after {seconds * self.patience:g} s: {said}")
            self._compare(wanted, answer, mistakes)

    def _compare(self, wanted, answer, mistakes):
        wait, stalled, left = wanted
        found_wait, found_stalled, found_left = answer
        seconds = None if left is None else left * self.patience
        told = seconds == found_left if None in (seconds, found_left) else abs(seconds - found_left) < 1e-6
        for name, ok, should, found, mistake in (
            ("senders_wait", found_wait is wait, wait, found_wait, mistakes[0]),
            ("stalled", found_stalled == sorted(stalled), sorted(stalled), found_stalled, mistakes[1]),
            ("wait_seconds", told, seconds, found_left, mistakes[2]),
        ):
            self.student.should(
                ok, should=f"give {should} from {name}", but=f"it gave {found!r}", mistake=mistake, read=READ
            )


LATE = "the wait of poll left to chance: it must end when the first has to go, and not before"


def test_full_until_three_quarters(student):
    """A full queue makes senders wait until three quarters of it are left."""
    story = Story(student)
    story.queue("A", 0.95, 0.0, False)
    story.queue("A", 1.0, 0.1, True, left=1.0)
    story.queue("A", 0.9, 0.2, True, left=1.0)
    story.queue("A", 0.8, 0.3, True, left=1.0)
    story.queue("A", 0.75, 0.4, False)
    story.queue("A", 0.95, 0.5, False)
    story.play(
        (
            "one mark where there are two: full at the limit, and no more at three quarters; with one, senders would be"
            " stopped and released with every line",
            "somebody sent away who reads",
            "a wait told although nobody is full, or not told although somebody is",
        )
    )


def test_any_full_queue_counts(student):
    """Senders wait for every full queue, and for none that has left."""
    story = Story(student)
    story.queue("A", 1.2, 0.0, True, left=1.0)
    story.queue("B", 0.1, 0.1, True, left=0.9)
    story.queue("B", 1.0, 0.2, True, left=0.8)
    story.queue("A", 0.5, 0.3, True, left=0.9)
    story.leaves("B", 0.4, False)
    story.leaves("C", 0.4, False)
    story.queue("A", 1.0, 0.5, True, left=1.0)
    story.leaves("A", 0.6, False)
    story.queue("A", 0.9, 0.7, False)
    story.play(
        (
            "one flag for the room: each queue is full by itself, and one that has left is not full any more",
            "somebody sent away who reads",
            "the wait of another queue, or of one that has left",
        )
    )


def test_a_stalled_reader_has_to_go(student):
    """A full queue that does not shrink for stall_seconds has to go."""
    story = Story(student)
    story.queue("A", 0.9, 0.0, False)
    story.queue("A", 1.1, 1.0, True, left=1.0)
    story.queue("A", 1.1, 1.5, True, left=0.5)
    story.queue("A", 1.3, 1.75, True, left=0.25)
    story.passes(2.0, True, ["A"], left=0.0)
    story.passes(2.5, True, ["A"], left=0.0)
    story.leaves("A", 2.5, False)
    story.play(
        (
            "a stalled client that is forgotten before it has left",
            "a clock of your own, the time from before the queue was full, or each new report taken for progress",
            LATE,
        )
    )


def test_a_slow_reader_may_stay(student):
    """A reader who reads, however slowly, is given time anew."""
    story = Story(student)
    story.queue("A", 1.5, 0.0, True, left=1.0)
    for step in range(1, 8):
        story.queue("A", 1.5 - step / 20, step * 0.75, True, left=1.0)
    story.queue("A", 1.2, 5.5, True, left=0.75)
    story.queue("A", 1.1, 5.75, True, left=1.0)
    story.passes(6.75, True, ["A"], left=0.0)
    story.play(
        (
            "a queue that is less full than it was taken for one that is not full",
            "the time counted from when the queue was full: who reads, slowly, is a reader, and loses its lines so",
            "the time counted from when the queue was full: it begins anew when the queue has shrunk",
        )
    )


def test_each_has_its_own_time(student):
    """Several stalled readers go each at its own time, and poll wakes for the first."""
    story = Story(student)
    story.queue("A", 1.0, 0.0, True, left=1.0)
    story.queue("B", 1.0, 0.25, True, left=0.75)
    story.queue("C", 1.0, 0.5, True, left=0.5)
    story.queue("A", 0.9, 0.75, True, left=0.5)
    story.passes(1.25, True, ["B"], left=0.0)
    story.passes(1.5, True, ["B", "C"], left=0.0)
    story.leaves("B", 1.5, True, ["C"], left=0.0)
    story.leaves("C", 1.5, True, left=0.25)
    story.passes(1.75, True, ["A"], left=0.0)
    story.play(("a room that forgets one of its full queues", "one clock for the room: each queue has its own", LATE))

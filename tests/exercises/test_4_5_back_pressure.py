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
        answers.append({"senders_wait": pressure.senders_wait(), "stalled": sorted(stalled), "wait_seconds": wait})
    return answers
"""


class Story:
    """What a BackPressure hears, moment by moment, and what it must answer to each.

    Times are given in units of its patience, stall_seconds, from a random start; queues as a part of the limit.
    """

    def __init__(self, student):
        self.student = student
        self.limit = 4 * student.random.randrange(500, 5000)
        self.patience = student.random.choice([1.0, 2.0, 5.0])
        self.start = float(student.random.randrange(1, 10**6))
        self.moments = []

    def queue(self, client, part, time, **wanted):
        """The client's queue holds this part of the limit. wanted: what the methods must answer then."""
        pending = int(self.limit * part)
        self._add(client, pending, time, f"client {client} has {pending} bytes pending", wanted)

    def leaves(self, client, time, **wanted):
        """A client is gone."""
        self._add(client, None, time, f"client {client} leaves", wanted)

    def passes(self, time, **wanted):
        """Nothing happens but time."""
        self._add(None, 0, time, "nothing happens", wanted)

    def _add(self, client, pending, time, words, wanted):
        self.moments.append(((client, pending, self.start + time * self.patience), words, time, wanted))

    def play(self, **mistakes):
        """Let it be heard, and compare. mistakes: the likely one, by method."""
        self.student.define(HELPERS)
        words = f"BackPressure({self.limit}, {self.patience:g}); time begins at {self.start:g} s"
        call = self.student.call("play", self.limit, self.patience, [moment[0] for moment in self.moments], step=words)
        for (_, said, time, wanted), found in zip(self.moments, call.value, strict=True):
            self.student.step(f"after {time * self.patience:g} s: {said}")
            for method, value in self._answers(wanted).items():
                self.student.should(
                    _same(value, found[method]),
                    should=f"give {value!r} from {method}",
                    but=f"it gave {found[method]!r}",
                    mistake=mistakes.get(method, ""),
                    read=READ,
                )

    def _answers(self, wanted):
        """What the methods must answer: nobody has to go, unless it is said. A wait is given in units of patience."""
        answers = {"senders_wait": wanted["wait"], "stalled": wanted.get("stalled", [])}
        if "left" in wanted:
            answers["wait_seconds"] = None if wanted["left"] is None else wanted["left"] * self.patience
        return answers


def _same(wanted, found):
    """Whether an answer is the wanted one; seconds are compared as floats are."""
    if isinstance(wanted, float) and isinstance(found, float | int):
        return abs(wanted - found) < 1e-6
    return wanted == found and type(wanted) is type(found)


def test_full_until_three_quarters(student):
    """A full queue makes senders wait until three quarters of it are left."""
    story = Story(student)
    story.queue("A", 0.95, 0.0, wait=False)
    story.queue("A", 1.0, 0.1, wait=True)
    story.queue("A", 0.9, 0.2, wait=True)
    story.queue("A", 0.8, 0.3, wait=True)
    story.queue("A", 0.75, 0.4, wait=False)
    story.queue("A", 0.95, 0.5, wait=False)
    story.play(
        senders_wait="one mark where there are two, the limit and three quarters of it: with one, senders would be"
        " stopped and released with every line",
        stalled="somebody sent away who reads",
    )


def test_any_full_queue_counts(student):
    """Senders wait for every full queue, and for none that has left."""
    story = Story(student)
    story.queue("A", 1.2, 0.0, wait=True)
    story.queue("B", 0.1, 0.1, wait=True)
    story.queue("B", 1.0, 0.2, wait=True)
    story.queue("B", 0.5, 0.3, wait=True)
    story.queue("B", 1.0, 0.4, wait=True)
    story.leaves("A", 0.5, wait=True)
    story.leaves("C", 0.5, wait=True)
    story.leaves("B", 0.6, wait=False)
    story.queue("A", 0.9, 0.7, wait=False)
    story.play(
        senders_wait="one flag for the room: each queue is full by itself, and one that has left is not full any more",
        stalled="somebody sent away who reads",
    )


def test_a_stalled_reader_has_to_go(student):
    """A full queue that does not shrink for stall_seconds has to go."""
    story = Story(student)
    story.queue("A", 0.9, 0.0, wait=False)
    story.queue("A", 1.1, 1.0, wait=True)
    story.queue("A", 1.1, 1.5, wait=True)
    story.queue("A", 1.3, 1.75, wait=True)
    story.passes(2.0, wait=True, stalled=["A"])
    story.passes(2.5, wait=True, stalled=["A"])
    story.leaves("A", 2.5, wait=False)
    story.play(
        senders_wait="a stalled client that is forgotten before it has left",
        stalled="a clock of your own, or each new report taken for progress: only fewer bytes are progress",
    )


def test_a_slow_reader_may_stay(student):
    """A reader who reads, however slowly, is given time anew."""
    story = Story(student)
    story.queue("A", 1.5, 0.0, wait=True)
    for step in range(1, 8):
        story.queue("A", 1.5 - step / 20, step * 0.75, wait=True)
    story.passes(6.0, wait=True)
    story.passes(6.25, wait=True, stalled=["A"])
    story.play(
        senders_wait="a queue that is less full than it was taken for one that is not full",
        stalled="the time counted from when the queue was full: who reads, slowly, is a reader, and loses its lines so",
    )


def test_each_has_its_own_time(student):
    """Several stalled readers go each at its own time, and poll wakes up for the first."""
    story = Story(student)
    story.passes(0.0, wait=False, left=None)
    story.queue("A", 1.0, 0.0, wait=True, left=1.0)
    story.queue("B", 1.0, 0.25, wait=True, left=0.75)
    story.queue("C", 1.0, 0.5, wait=True, left=0.5)
    story.queue("A", 0.9, 0.75, wait=True, left=0.5)
    story.passes(1.25, wait=True, stalled=["B"], left=0.0)
    story.passes(1.5, wait=True, stalled=["B", "C"], left=0.0)
    story.leaves("B", 1.5, wait=True, stalled=["C"], left=0.0)
    story.leaves("C", 1.5, wait=True, left=0.25)
    story.passes(2.0, wait=True, stalled=["A"], left=0.0)
    story.leaves("A", 2.0, wait=False, left=None)
    story.play(
        senders_wait="a room that forgets one of its full queues",
        stalled="one clock for the room: each queue has its own",
        wait_seconds="a wait that does not end when the first one has to go: None when nobody is full, never below 0",
    )

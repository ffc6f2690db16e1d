"""Verdicts and feedback: what is said of a check and of an exercise, in plain data."""

from dataclasses import asdict, dataclass, field

PASSED = "passed"
FAILED = "failed"
NOT_STARTED = "not started"
NOT_CHECKED = "not checked"
OUT_OF_TIME = "out of time"
TOO_MANY = "too many processes"
CRASHED = "crashed"
TAMPERED = "tampered"
FAULT = "judge's fault"

# Which of its checks' verdicts an exercise takes: the first of these that one of them has.
SEVERITY = (FAULT, TAMPERED, TOO_MANY, CRASHED, OUT_OF_TIME, FAILED, NOT_STARTED, NOT_CHECKED, PASSED)


@dataclass
class Feedback:
    """What a student is told of a check that did not pass. Every part is text; empty parts are left out."""

    headline: str
    steps: list[str] = field(default_factory=list)
    should: str = ""
    but: str = ""
    mistake: str = ""
    read: str = ""
    look: str = ""
    seed: str = ""
    said: str = ""

    def __str__(self) -> str:
        lines = [self.headline]
        lines += [f"  {number}. {step}" for number, step in enumerate(self.steps, start=1)]
        for word, text in (
            ("should", self.should),
            ("but", self.but),
            ("said", self.said),
            ("likely mistake:", self.mistake),
        ):
            if text:
                lines.append(_indented(word, text))
        for word, text in (("read", self.read), ("look", self.look), ("again", self.seed)):
            if text:
                lines.append(_indented(word, text))
        return "\n".join(lines)


def _indented(word: str, text: str) -> str:
    start = f"  {word:<7} "
    return start + text.strip().replace("\n", "\n" + " " * 10)


class Outcome(AssertionError):
    """Raised in a check that does not pass. verdict is one of this module's constants.

    whole_lab: every other exercise of the lab would end in the same way, since its file does not load.
    """

    def __init__(self, verdict: str, feedback: Feedback, *, whole_lab: bool = False):
        super().__init__(str(feedback))
        self.whole_lab = whole_lab
        self.verdict = verdict
        self.feedback = feedback


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome. name is its test function's; seconds is how long it took."""

    exercise_id: str
    name: str
    title: str
    verdict: str
    feedback: str
    seconds: float

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """One exercise's outcome: all its points when every check passed, else none.

    feedback is that of the first check that did not pass, or empty; seconds is the sum over its checks.
    """

    exercise_id: str
    title: str
    verdict: str
    points: int
    max_points: int
    feedback: str
    seconds: float
    checks: tuple[CheckResult, ...]

    @property
    def line(self) -> str:
        """The stable line that the command line and the notebooks print: `1.2 spawn and reap  3/3`."""
        tail = "" if self.verdict in (PASSED, FAILED) else f"  {self.verdict}"
        return f"{self.exercise_id} {self.title}  {self.points}/{self.max_points}{tail}"

    def as_dict(self) -> dict:
        return asdict(self)


def combine(exercise, checks: list[CheckResult], expected: int = 0) -> Verdict:
    """An exercise's verdict from those of its checks.

    expected: how many checks there should be at least. A check without a result, and an exercise without checks, is the
    judge's fault, never a pass.
    """
    if not checks or len(checks) < expected:
        feedback = f"{exercise.id} {exercise.title}: the judge gave no verdict; this is not your mistake"
        lost = CheckResult(exercise.id, "", "every check has a result", FAULT, feedback, 0.0)
        checks = [*checks, lost]
    worst = min((check.verdict for check in checks), key=SEVERITY.index)
    first = next((check for check in checks if check.verdict == worst), checks[0])
    points = exercise.points if worst == PASSED else 0
    seconds = sum(check.seconds for check in checks)
    feedback = "" if worst == PASSED else first.feedback
    return Verdict(exercise.id, exercise.title, worst, points, exercise.points, feedback, seconds, tuple(checks))

"""What is to be sent, and when: a closed loop, or a schedule."""

NEVER = float("inf")


class ClosedLoop:
    """Each sender has `window` lines outstanding, for warmup + seconds, or until `lines` are sent in all."""

    rate = None
    behind = 0.0

    def __init__(self, window: int, seconds: float | None, lines: int | None, warmup: float):
        self.window = window
        self.warmup = warmup
        self.words = f"closed loop, window {window}"
        self._lines = NEVER if lines is None else lines
        self._until = NEVER if seconds is None else warmup + seconds
        self.timed = seconds is not None  # the time is given, and so is when measuring ends

    def due(self, elapsed: float, outstanding: list[int], sent: int) -> list[tuple[int, int, float]]:
        """What to send, `elapsed` seconds after the beginning: (sender, lines, when each counts as sent).

        outstanding: by sender, lines that are not done yet, or None when it has gone; sent: lines so far.
        """
        left = self._lines - sent
        found = []
        for sender, count in enumerate(outstanding):
            free = 0 if count is None else min(self.window - count, left)
            if free > 0:
                found.append((sender, free, elapsed))
                left -= free
        return found

    def over(self, elapsed: float, sent: int) -> bool:
        """Whether nothing more is to be sent."""
        return elapsed >= self._until or sent >= self._lines

    def next(self, elapsed: float) -> float:
        """Seconds until something is to be done, even if nothing arrives."""
        return self._until - elapsed

    def share(self, elapsed: float, sent: int) -> float:
        """How much of the work is done, from 0 to 1."""
        return max(elapsed / self._until, sent / self._lines)


class FixedRate:
    """A line every 1 / rate seconds for warmup + seconds, the senders in turn, each counted from when it was due."""

    window = None
    timed = True

    def __init__(self, rate: float, seconds: float, warmup: float):
        self.rate = rate
        self.warmup = warmup
        self.behind = 0.0
        self.words = f"{rate:g} messages a second"
        self._until = warmup + seconds
        self._total = max(1, round(self._until * rate))
        self._number = 0

    def due(self, elapsed: float, outstanding: list[int], sent: int) -> list[tuple[int, int, float]]:
        """As ClosedLoop.due."""
        found = []
        while self._number < self._total and (when := self._number / self.rate) <= elapsed:
            sender = self._number % len(outstanding)
            if outstanding[sender] is not None:
                found.append((sender, 1, when))
            self._number += 1
            self.behind = max(self.behind, elapsed - when)
        return found

    def over(self, elapsed: float, sent: int) -> bool:
        """Whether nothing more is to be sent, and the time to measure is over."""
        return self._number >= self._total and elapsed >= self._until

    def next(self, elapsed: float) -> float:
        """Seconds until the next line is due."""
        return (self._number / self.rate if self._number < self._total else self._until) - elapsed

    def share(self, elapsed: float, sent: int) -> float:
        """How much of the work is done, from 0 to 1."""
        return elapsed / self._until

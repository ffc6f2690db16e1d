"""What a student is told of her code whatever the exercise is: one function a situation, each gives a Complaint.

What only one exercise can say stands in its judge, as the arguments of `student.should`.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from chatlab.judge import verdicts
from chatlab.judge.wire import CHANNEL_DESCRIPTOR
from chatlab.launch.program import describe_status

ENDLESS_LOOP = "an endless loop: it never waits for anything"


@dataclass(frozen=True)
class RaisedException:
    """An exception that the student's code raised. line is in exercises.py; errno only for an OSError."""

    type: str
    bases: tuple[str, ...]
    message: str
    errno: int | None
    line: int | None
    source: str = ""

    @classmethod
    def of(cls, message: dict) -> "RaisedException | None":
        """The one that a message from the student's process tells, if it tells one."""
        entry = message.get("exception")
        if not entry:
            return None
        return cls(
            entry["type"],
            tuple(entry["bases"]),
            entry["message"],
            entry["errno"],
            entry["line"],
            entry.get("source", ""),
        )

    def __str__(self) -> str:
        where = f" at line {self.line} of exercises.py" if self.line else ""
        where += f": {self.source}" if self.source else ""
        return f"{self.type}{': ' if self.message else ''}{self.message}{where}"


@dataclass(frozen=True)
class Complaint:
    """The part of a Feedback that tells what went wrong, and its verdict.

    read: a heading of the handout. whole_lab: every exercise of the lab would fail in the same way.
    """

    should: str
    but: str = ""
    mistake: str = ""
    read: str = ""
    verdict: str = verdicts.FAILED
    whole_lab: bool = False


# the file


def no_file(folder: Path) -> Complaint:
    return Complaint(f"have an exercises.py in {folder}", "there is none")


def does_not_load(error: RaisedException | None) -> Complaint:
    return Complaint(
        "be a file that Python can load",
        f"loading it raised {error}",
        "a mistake in the file itself: no exercise in it can be judged until it loads",
        whole_lab=True,
    )


def missing(name: str, error: RaisedException | None) -> Complaint:
    return Complaint(
        f"define {name} in exercises.py",
        f"there is no {name}" if error and error.type in ("KeyError", "AttributeError") else f"{error}",
        "a name deleted or misspelt",
    )


# a call


def raised(error: RaisedException, read: str) -> Complaint:
    return Complaint("return", f"it raised {error}", read=read)


def hung(seconds: float, doing: str, mistake: str, read: str) -> Complaint:
    return Complaint(f"return within {seconds:g} s", doing, mistake, read, verdict=verdicts.OUT_OF_TIME)


def or_endless_loop(mistake: str) -> str:
    """The likely mistake of code that never sleeps."""
    return f"{ENDLESS_LOOP}, or {mistake}" if mistake else ENDLESS_LOOP


def ran_on(pid: int, error: RaisedException | None) -> Complaint:
    if error is not None:
        return Complaint(
            "keep its child inside: a child leaves by os._exit, whatever happens in it",
            f"in its child, process {pid}, it was left by {error}",
            "a child that leaves its function by an exception: it runs on into its caller's code",
        )
    return Complaint(
        "return once, in the process that called it",
        f"it returned a second time, in its child, process {pid}",
        "a child that runs on into its caller's code",
    )


# what student code must not do


def too_many(limit: int) -> Complaint:
    return Complaint(
        f"get by with at most {limit} processes",
        "there were more, and all were ended",
        "a fork in a loop whose children go on looping (a fork bomb)",
        verdict=verdicts.TOO_MANY,
    )


def hurt_its_parent() -> Complaint:
    return Complaint(
        "leave its parent process alone",
        "a signal hit the process that had started it",
        "a signal sent to os.getppid(), or to every process: kill(-1)",
        verdict=verdicts.CRASHED,
    )


def tampered(why: str) -> Complaint:
    return Complaint(
        f"leave the judge's channel (descriptor {CHANNEL_DESCRIPTOR}) alone",
        f"something else came over it: {why}",
        verdict=verdicts.TAMPERED,
    )


def closed_the_channel() -> Complaint:
    return Complaint(
        "close only descriptors that it was given or opened itself",
        f"descriptor {CHANNEL_DESCRIPTOR} was closed, through which the judge talks to your code",
        "every descriptor closed, whoever they belong to",
        verdict=verdicts.CRASHED,
    )


def ended(status: int | None) -> Complaint:
    """status: as waitpid(2) gives it; None when it is not known."""
    if status is None:
        return Complaint("come back to the judge", "its process cannot be reached any more", verdict=verdicts.CRASHED)
    returncode = os.waitstatus_to_exitcode(status)
    return Complaint(
        "come back to the judge",
        f"its process ended instead: {describe_status(returncode)}",
        "os._exit in the process that the function was called in"
        if returncode >= 0
        else "a signal sent to its own process, or to the whole process group",
        verdict=verdicts.CRASHED,
    )


# values


def short(value) -> str:
    """A value as a step or a complaint shows it: cut where it is long."""
    if isinstance(value, socket.socket):
        return "a socket" if value.type == socket.SOCK_STREAM else "a datagram socket"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(value)} long)" if hasattr(value, "__len__") else text[:80]

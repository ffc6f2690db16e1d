"""What can go wrong between a generator of load and a server, as one line."""

import os

from chatlab.launch.program import scale

PATIENCE_SECONDS = 5.0  # how long a silence may last before what is missing counts as lost


class LoadError(Exception):
    """The load cannot be put on, or a client waited in vain: one clear line."""


def patience() -> float:
    """PATIENCE_SECONDS, scaled by CHATLAB_TIME_SCALE."""
    return PATIENCE_SECONDS * scale()


def describe(address: tuple[str, int]) -> str:
    """host:port."""
    return f"{address[0]}:{address[1]}"


def reason(error: OSError) -> str:
    """The error in words, also for those of getaddrinfo, whose errno is no errno(3)."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)

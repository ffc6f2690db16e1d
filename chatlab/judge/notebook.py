"""The checks of a notebook: one stable line for each exercise, feedback beneath where it is not full."""

import os

from chatlab.judge.runner import run
from chatlab.judge.verdicts import NOT_STARTED, Verdict


def check(*exercises: str, work: str | None = None) -> list[Verdict]:
    """Judge exercises and print `1.2 spawn and reap  3/3` for each, with the feedback of those that are not full.

    Arguments: exercises, ids such as "1.2"; work, the folder to judge (default: CHATLAB_WORK, else labs).
    Returns the Verdicts.
    """
    from chatlab.why import kept_folder

    found = run(work or os.environ.get("CHATLAB_WORK", "labs"), exercises, keep_traces=kept_folder())
    for verdict in found:
        print(verdict.line)
    for verdict in found:
        if verdict.feedback and verdict.verdict != NOT_STARTED:
            print(f"\n{verdict.feedback}")
    return found

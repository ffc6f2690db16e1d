"""Exercises judged from outside: the student's code in another process, looked at by this one and by the kernel."""

import importlib

_HOME = {
    "Fd": "chatlab.judge.wire",
    "Name": "chatlab.judge.wire",
    "Student": "chatlab.judge.student",
    "Call": "chatlab.judge.student",
    "Pending": "chatlab.judge.student",
    "Remote": "chatlab.judge.student",
    "Audit": "chatlab.judge.audit",
    "Verdict": "chatlab.judge.verdicts",
    "CheckResult": "chatlab.judge.verdicts",
    "run": "chatlab.judge.runner",
}

__all__ = list(_HOME)


def __getattr__(name: str):
    # Found when first used: the student's process imports this package too, and needs only `wire`.
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'chatlab.judge' has no attribute {name!r}")

"""chatlab: launch real servers, see what the kernel did, plot it, and judge exercises.

What a notebook needs is here by its short name. Each name is imported when it is first used, so that the judge's
processes, which need none of matplotlib, start in milliseconds.
"""

import importlib
import sys
from types import ModuleType

_HOME = {
    "launch": "chatlab.launch",
    "run": "chatlab.launch",
    "LaunchError": "chatlab.launch",
    "Trace": "chatlab.trace",
    "check": "chatlab.judge.notebook",
    "why": "chatlab.why",
}


def __getattr__(name: str):
    if name == "plot":
        return importlib.import_module("chatlab.plot")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'chatlab' has no attribute {name!r}")


class _Package(ModuleType):
    def __setattr__(self, name: str, value) -> None:
        # Once imported, a module is bound here by its name: `launch` and `why` would be the modules, not the functions.
        if isinstance(value, ModuleType) and _HOME.get(name) == value.__name__:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

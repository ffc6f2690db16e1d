"""Clients and workloads over any relay server at an address, every line checked.

client.py is one client, for tests; membership.py tells when a newcomer is in. room.py connects thousands → work.py says
what to send, and when → run.py sends and receives → order.py checks every line → result.py has what came out, as
arrays. Each is imported when first used, so that a judge's process, which wants a client only, loads no numpy.
"""

import importlib

_HOME = {
    "LoadError": "errors",
    "PATIENCE_SECONDS": "errors",
    "Client": "client",
    "admit": "membership",
    "Room": "room",
    "closed_loop": "room",
    "fixed_rate": "room",
    "Result": "result",
}

__all__ = ["PATIENCE_SECONDS", "Client", "LoadError", "Result", "Room", "admit", "closed_loop", "fixed_rate"]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"chatlab.load.{_HOME[name]}"), name)
    raise AttributeError(f"module 'chatlab.load' has no attribute {name!r}")

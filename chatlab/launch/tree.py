"""A process tree under a supervisor, seen from the process that asked for it."""

import json
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SUPERVISOR = Path(__file__).with_name("supervisor.py")
ANSWER_SECONDS = 20.0


class TreeGone(Exception):
    """The supervisor, and with it the tree, has ended."""


class Tree:
    """A program and all that it starts, under a supervisor.

    Arguments: argv of the program; env, its whole environment; cwd; descriptors, number in the program to a descriptor
    here (the caller keeps its own); limits, names of RLIMITs to numbers; max_processes, after which everything is
    ended; tracer, the name of a program to leave out of audits; prefix, an argv put before the supervisor's (bwrap);
    decoy, whether a process of no importance stands between supervisor and program, which may turn on its parent;
    remove, a folder that goes with the tree.
    Nothing of the tree outlives the object's owner: the supervisor ends it when the socket between them ends.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | os.PathLike,
        descriptors: Mapping[int, int],
        limits: Mapping[str, int] | None = None,
        max_processes: int | None = None,
        tracer: str | None = None,
        prefix: Sequence[str] = (),
        decoy: bool = False,
        remove: Path | None = None,
    ):
        control, theirs = socket.socketpair()
        specification = {
            "argv": list(argv),
            "env": dict(env),
            "cwd": str(cwd),
            "descriptors": {str(target): source for target, source in descriptors.items()},
            "limits": dict(limits or {}),
            "max_processes": max_processes,
            "tracer": tracer,
            "decoy": decoy,
            "remove": None if remove is None else str(remove),
        }
        command = [*prefix, sys.executable, "-I", "-S", "-B", str(SUPERVISOR), str(theirs.fileno())]
        # A session of its own: ^C in a terminal and an interrupted kernel are the owner's affair.
        with theirs:
            self._process = subprocess.Popen(
                [*command, json.dumps(specification)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *descriptors.values()],
                start_new_session=True,
            )
        self._control = control
        self._changed = threading.Condition()
        self.pid: int | None = None
        self.status: int | None = None
        self.failure: str | None = None
        self.idle = False
        self.too_many: int | None = None
        self.parent_killed = False
        self.gone = False
        self._audits: list[dict] = []
        self._listener = threading.Thread(target=self._listen, name="supervisor's events", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        with self._control.makefile("rb") as lines:
            while True:
                try:
                    line = lines.readline()
                except OSError:
                    line = b""
                with self._changed:
                    if not line:
                        self.gone = True
                    else:
                        self._note(json.loads(line))
                    self._changed.notify_all()
                if not line:
                    return

    def _note(self, event: dict) -> None:
        kind = event["event"]
        if kind == "started":
            self.pid = event["pid"]
        elif kind == "failed":
            self.failure = event["why"]
        elif kind == "exited":
            self.status = event["status"]
        elif kind == "idle":
            self.idle = True
        elif kind == "too_many":
            self.too_many = event["limit"]
        elif kind == "parent_killed":
            self.parent_killed = True
        elif kind == "audit":
            self._audits.append(event)

    def _say(self, **command) -> None:
        try:
            self._control.sendall(json.dumps(command).encode() + b"\n")
        except OSError as error:
            raise TreeGone("the supervisor has ended") from error

    def wait_for(self, condition: Callable[[], object], timeout: float | None) -> bool:
        """Wait until condition() holds, looked at after each event; False when timeout seconds pass first."""
        with self._changed:
            return bool(self._changed.wait_for(condition, timeout))

    def notify(self) -> None:
        """Have every `wait_for` look again: something outside of the supervisor's events has changed."""
        with self._changed:
            self._changed.notify_all()

    def started(self) -> bool:
        """Wait until the program runs, or is known not to: then False, and `failure` says why."""
        self.wait_for(lambda: self.pid or self.failure or self.gone, ANSWER_SECONDS)
        return self.pid is not None

    def audit(self) -> dict:
        """What the supervisor sees now: see `supervisor.Supervisor.audit`. Raises TreeGone."""
        with self._changed:
            asked = len(self._audits) + 1
        self._say(do="audit")
        self.wait_for(lambda: len(self._audits) >= asked or self.gone, ANSWER_SECONDS)
        with self._changed:
            if len(self._audits) < asked:
                raise TreeGone("the supervisor has ended")
            return self._audits[asked - 1]

    def signal(self, number: int, pid: int | None = None) -> None:
        """Send a signal to the program, or to the process pid (as the supervisor numbers it)."""
        self._say(do="signal", signal=int(number), pid=pid)

    def end(self, grace: float = 0.0) -> None:
        """End the whole tree: SIGTERM to the program and up to grace seconds for it, then SIGKILL to all."""
        try:
            self._say(do="end", grace=grace)
        except TreeGone:
            pass
        self.wait_for(lambda: self.gone, grace + ANSWER_SECONDS)  # told at once; `wait` looks again and again
        try:
            self._process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(ANSWER_SECONDS)
        self._control.close()


class Collector:
    """Reads pipes into memory as they fill, in a thread, and tells the tree's waiters.

    Arguments: tree; pipes, name to the descriptor of a read end (closed here at its end of file).
    """

    def __init__(self, tree: Tree, pipes: Mapping[str, int]):
        self._tree = tree
        self.texts: dict[str, bytearray] = {name: bytearray() for name in pipes}
        self._selector = selectors.DefaultSelector()
        for name, descriptor in pipes.items():
            self._selector.register(descriptor, selectors.EVENT_READ, name)
        self._thread = threading.Thread(target=self._collect, name="output collector", daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        while self._selector.get_map():
            for key, _ in self._selector.select():
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    self._selector.unregister(key.fd)
                    os.close(key.fd)
                self.texts[key.data].extend(chunk)
            self._tree.notify()
        self._selector.close()

    def join(self, timeout: float) -> None:
        """Wait until every pipe has ended."""
        self._thread.join(timeout)

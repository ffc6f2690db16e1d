"""The student's process from the judge's side: where it runs, what it is told, what it wrote, what the kernel saw.

No words for people here: `student.py` asks, and `words.py` says what came of it.
"""

import os
import select
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from chatlab.judge import contain, wire
from chatlab.judge.audit import Audit
from chatlab.judge.wire import CHANNEL_DESCRIPTOR
from chatlab.launch.program import clean_environment
from chatlab.launch.tree import Tree

HOST = Path(__file__).with_name("host.py")
MAX_PROCESSES = 300
MAX_FILE_BYTES = 64 * 1024 * 1024
LARGEST_TRACE_FOR_NAMES = 2_000_000  # bytes; a loop that makes calls without end writes more than is read in time
LEAST_WAIT_SECONDS = 0.05
FORKING_CALLS = "clone,clone3,fork,vfork"


class StudentProcess:
    """One process with one exercises.py in it, its supervisor, and the channel to it. Traced where strace is there.

    Arguments: exercise, from course.toml; path of the exercises.py; inject, (call, error, when) for strace; limits,
    names of RLIMITs to numbers. `tree` is None until `start`.
    """

    def __init__(self, exercise, path: Path, inject: Iterable = (), limits: Mapping[str, int] | None = None):
        self.path = path
        self.tree: Tree | None = None
        self.traced = False
        self.ended = 0.0  # unix time, s: what its processes did later was the judge's doing
        self._exercise = exercise
        self._inject = list(inject)
        self._limits = dict(limits or {})
        self._read_so_far = {"out": 0, "err": 0}
        self._folder = Path(tempfile.mkdtemp(prefix="chatlab-judge-"))
        self.scratch = self._folder / "scratch"
        self.scratch.mkdir()
        self._strace_file = self._folder / "trace" / "strace"
        self._strace_file.parent.mkdir()

    def lacks_strace(self) -> bool:
        """Whether a system call shall fail for certain, and there is no strace to do so."""
        return bool(self._inject) and self._tracer() is None

    def start(self) -> None:
        """Start it: it loads exercises.py and answers over the channel. RuntimeError when it does not start."""
        mine, theirs = socket.socketpair()
        self._channel = wire.Channel(mine)
        root = self._exercise.root
        tracer = self._tracer() or []
        self.traced = bool(tracer)
        argv = [sys.executable, "-I", "-S", "-B", str(HOST), str(CHANNEL_DESCRIPTOR), str(self.path), *self._folders()]
        output = [
            os.open(self._folder / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600) for name in ("out", "err")
        ]
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            self.tree = Tree(
                [*tracer, *argv],
                env=clean_environment({"HOME": str(self.scratch), "LC_ALL": "C.UTF-8"}),
                cwd=self.scratch,
                descriptors={0: null, 1: output[0], 2: output[1], CHANNEL_DESCRIPTOR: theirs.fileno()},
                limits={"CORE": 0, "FSIZE": MAX_FILE_BYTES, **self._limits},
                max_processes=MAX_PROCESSES,
                tracer="strace" if tracer else None,
                decoy=True,
                prefix=contain.prefix(
                    [root, Path(__file__).parents[2], self.path.parent], [self.scratch, self._strace_file.parent]
                ),
            )
        finally:
            for descriptor in (*output, null):
                os.close(descriptor)
            theirs.close()
        if not self.tree.started():
            raise RuntimeError(f"the student's process did not start: {self.tree.failure or 'its supervisor ended'}")

    def _folders(self) -> list[str]:
        """Where the student's code may import from: her folder comes first, then the lab's and those before it."""
        labs = self._exercise.root / "labs"
        number = self._exercise.lab.folder[:2]
        earlier = sorted((folder.name for folder in labs.iterdir() if folder.name[:2] <= number), reverse=True)
        return [str(labs / name) for name in earlier if (labs / name).is_dir()]

    def _tracer(self) -> list[str] | None:
        """The argv prefix that traces it and lets its calls fail; None without strace."""
        from chatlab.trace import strace

        extra = []
        for call, error, when in self._inject:
            calls = FORKING_CALLS if call in FORKING_CALLS.split(",") else call
            extra += ["-e", f"inject={calls}:error={error}:when={when}"]
        return strace.command(self._strace_file, extra=extra)

    # the channel

    def send(self, message: dict, descriptors: list[int], timeout: float) -> None:
        """Send one message within timeout seconds. Raises TimeoutError, OSError."""
        self._channel.sock.settimeout(max(timeout, LEAST_WAIT_SECONDS))
        self._channel.send(message, descriptors)

    def receive(self, timeout: float) -> tuple[dict, list[int]] | None:
        """The next message and its descriptors, or None at the end. Raises TimeoutError, OSError, wire.WireError."""
        self._channel.sock.settimeout(max(timeout, LEAST_WAIT_SECONDS))
        return self._channel.receive()

    def readable(self, timeout: float) -> bool:
        """Whether something comes over the channel within timeout seconds."""
        return bool(select.select([self._channel.sock], [], [], max(timeout, 0))[0])

    # what it wrote

    def read_output(self) -> dict[str, bytes]:
        """What the tree wrote to standard output ("out") and error ("err") since the last look."""
        fresh = {}
        for name in ("out", "err"):
            with open(self._folder / name, "rb") as file:
                file.seek(self._read_so_far[name])
                fresh[name] = file.read()
            self._read_so_far[name] += len(fresh[name])
        return fresh

    def last_words(self) -> str:
        """The last line that the tree wrote to standard error, if any."""
        try:
            text = (self._folder / "err").read_bytes()[-4000:].decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""

    # what the kernel says

    def audit(self, before: Audit | None) -> tuple[Audit, bool]:
        """The tree now, compared with before; and whether a signal hit the process that had started it.

        Raises TreeGone.
        """
        event = self.tree.audit()
        return Audit.from_supervisor(event, CHANNEL_DESCRIPTOR, before, self._named), event["parent_hurt"]

    def _named(self, pid: int, descriptor: int, text: str) -> str:
        """A descriptor's name for people, from the trace."""
        if not self.traced or self._strace_file.stat().st_size > LARGEST_TRACE_FOR_NAMES:
            return text
        try:
            found = [d for d in self.trace().descriptors if (d.pid, d.fd) == (pid, descriptor) and d.closed is None]
        except (OSError, ValueError):
            return text
        return found[-1].name if found else text

    def trace(self):
        """A `chatlab.trace.Trace` of the tree so far, without the judge's channel."""
        from chatlab.trace import Trace

        return Trace.read(self._strace_file).without(fds={CHANNEL_DESCRIPTOR})

    # the end

    def end(self) -> None:
        """End the whole tree. Its trace stays until `clear`."""
        if self.tree is not None:
            self.ended = self.ended or time.time()
            self._channel.sock.close()
            self.tree.end()

    def keep_trace(self, target: Path) -> bool:
        """Copy the trace to the path target; False when there is none."""
        if not self.traced or not self._strace_file.is_file():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._strace_file, target)
        return True

    def clear(self) -> None:
        """Remove everything that it left on disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

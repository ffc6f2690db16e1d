"""Programs of the course as the caller sees them: address, output, log, trace, and a sure end."""

import os
import re
import signal
import socket
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

from chatlab import course
from chatlab.launch.tree import Collector, Tree

READY_LINE = re.compile(r"^listening on (?P<host>\S+):(?P<port>\d+)$", re.MULTILINE)
GRACE_SECONDS = 2.0
CONNECT_SECONDS = 5.0


class LaunchError(Exception):
    """A program did not start or did not become ready: one clear line."""


def scale() -> float:
    """How much slower than usual this machine may be: CHATLAB_TIME_SCALE, 1 when not set. Raises LaunchError."""
    text = os.environ.get("CHATLAB_TIME_SCALE", "1")
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise LaunchError(f"CHATLAB_TIME_SCALE is {text!r}: set it to a number above 0, such as 2")
    return value


def clean_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without PYTHON* variables: PYTHONUNBUFFERED would hide what lab 01 teaches."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **(extra or {})}


class Program:
    """A running program of the course, in a `with` block; at the block's end its whole process tree is ended.

    Made by `launch` and `run`, whose docstrings give the arguments.
    """

    def __init__(self, program, args, *, stdin, trace, timeout, env, cwd, stdout):
        root = course.find_root()
        path = Path(program)
        path = path if path.is_absolute() else root / path
        if not path.is_file():
            raise LaunchError(f"{program}: no such program below {root}")
        self.name = path.name
        self.timeout = timeout * scale()
        self._ended = False
        self._folder: Path | None = None
        self._sampler = None
        self._trace_file: int | None = None
        argv = [sys.executable, str(path)] if path.suffix == ".py" else [str(path)]
        argv += [str(argument) for argument in args]
        prefix = self._strace_prefix(trace)
        self._stdin: int | None = None
        self._start([*prefix, *argv], env, Path(cwd) if cwd else root, stdin, stdout, traced=bool(prefix))
        if trace and not prefix:
            from chatlab.trace.sampling import Sampler

            self._sampler = Sampler(self.pid)

    def _strace_prefix(self, trace: bool | str) -> list[str]:
        if not trace:
            return []
        from chatlab.trace import strace

        extra = trace.split() if isinstance(trace, str) else []
        folder = Path(tempfile.mkdtemp(prefix="chatlab-"))
        prefix = strace.command(folder / "strace", extra=extra)
        if prefix is None:
            folder.rmdir()
            if extra:
                raise LaunchError(f"{self.name}: {trace} needs strace: install it (make doctor says how)")
            return []
        # The supervisor removes the folder with the tree, whatever becomes of us; the open file stays readable.
        self._folder = folder
        self._trace_file = os.open(folder / "strace", os.O_CREAT | os.O_RDONLY, 0o600)
        weakref.finalize(self, os.close, self._trace_file)
        return list(prefix)

    def _start(self, argv, env, cwd, stdin, stdout, *, traced: bool) -> None:
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        in_read, in_write = (os.open(os.devnull, os.O_RDONLY), None) if stdin is None else os.pipe()
        target = out_write if stdout is None else stdout
        try:
            self.tree = Tree(
                argv,
                env=clean_environment(env),
                cwd=cwd,
                descriptors={0: in_read, 1: target, 2: err_write},
                tracer="strace" if traced else None,
                remove=self._folder,
            )
        finally:
            for descriptor in (out_write, err_write, in_read):
                os.close(descriptor)
        self._collector = Collector(self.tree, {"output": out_read, "log": err_read})
        self._stdin = in_write
        if not self.tree.started():
            why = self.tree.failure or "the supervisor ended"
            self.stop()
            raise LaunchError(f"{self.name} could not be started: {why}")
        self.pid = self.tree.pid
        if isinstance(stdin, bytes):
            self.write(stdin)
            self.close_stdin()

    # what it says

    @property
    def output(self) -> str:
        """What the program and its children have written to standard output so far."""
        return self._collector.texts["output"].decode("utf-8", "backslashreplace")

    @property
    def log(self) -> str:
        """What they have written to standard error so far."""
        return self._collector.texts["log"].decode("utf-8", "backslashreplace")

    @property
    def returncode(self) -> int | None:
        """Exit status; -N when signal N ended it; None while it runs. As subprocess has it."""
        status = self.tree.status
        return None if status is None else os.waitstatus_to_exitcode(status)

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) from the readiness line `listening on HOST:PORT`. Raises LaunchError before that line."""
        match = READY_LINE.search(self.output)
        if match is None:
            raise LaunchError(f"{self.name} has not said where it listens")
        return match["host"], int(match["port"])

    @property
    def port(self) -> int:
        """The port of `address`."""
        return self.address[1]

    @property
    def trace(self):
        """A `chatlab.trace.Trace` of what happened so far. Raises LaunchError when it was not asked for."""
        from chatlab.trace import Trace

        if self._trace_file is not None:
            return Trace.read(f"/proc/self/fd/{self._trace_file}")
        if self._sampler is not None:
            return self._sampler.trace()
        raise LaunchError(f"{self.name} is not traced: start it with trace=True")

    def wait_for_text(self, text: str, timeout: float | None = None, *, where: str = "output") -> None:
        """Wait until standard output (or where="log", standard error) holds the text. Raises LaunchError."""
        self.wait_for(lambda: text in getattr(self, where), f"{where} to hold {text!r}", timeout)

    def wait_for(self, condition: Callable[[], object], what: str, timeout: float | None = None) -> None:
        """Wait until condition() holds, looked at whenever the program says something or ends.

        what: the words for the complaint. timeout: seconds, scaled. Raises LaunchError.
        """
        limit = self.timeout if timeout is None else timeout * scale()
        self.tree.wait_for(lambda: condition() or self.tree.status is not None or self.tree.gone, limit)
        if self.tree.status is not None:
            self._collector.join(0.5)  # its last words, unless a child still holds the pipe
        if condition():
            return
        said = self.log.strip().splitlines()
        last = f": {said[-1]}" if said else ""
        if self.returncode is not None:
            raise LaunchError(f"{self.name} ended with status {self.returncode} before it was ready{last}")
        raise LaunchError(f"{self.name}: waited {limit:g} s for its {what}{last}")

    # what is done to it

    def connect(self) -> socket.socket:
        """A connected TCP socket to the program's address, with a timeout of 5 s on each operation."""
        return socket.create_connection(self.address, timeout=CONNECT_SECONDS * scale())

    def write(self, data: bytes) -> None:
        """Write to the program's standard input (stdin="pipe"), as much as it takes. Raises BrokenPipeError."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._stdin, view) :]

    def close_stdin(self) -> None:
        """Close the program's standard input: its end of file."""
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    def signal(self, number: int) -> None:
        """Send a signal to the program (not to its children)."""
        self.tree.signal(number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the program's end and return its exit status. Raises LaunchError after timeout seconds."""
        limit = self.timeout if timeout is None else timeout * scale()
        if not self.tree.wait_for(lambda: self.tree.status is not None or self.tree.gone, limit):
            raise LaunchError(f"{self.name} still runs after {limit:g} s")
        if self.tree.status is None:
            raise LaunchError(f"{self.name}: its supervisor ended")
        # Its children's last words and the tracer's last line; a child that stays is ended by `stop`.
        self.tree.wait_for(lambda: self.tree.idle, GRACE_SECONDS)
        if self.tree.idle:
            self._collector.join(GRACE_SECONDS)
        return self.returncode

    def processes(self) -> dict:
        """The supervisor's audit of the tree: see `chatlab.launch.supervisor`."""
        return self.tree.audit()

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """End the whole tree: SIGTERM and up to grace seconds for the program, then SIGKILL to all that is left."""
        if self._ended:
            return
        self._ended = True
        self.close_stdin()
        if self._sampler is not None:
            self._sampler.stop()
        self.tree.end(grace if self.tree.status is None else 0.0)
        self._collector.join(GRACE_SECONDS)

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "runs" if self.returncode is None else f"ended with status {self.returncode}"
        return f"<{self.name}, pid {self.pid}, {state}>"


def launch(
    program, *args, ready=True, stdin=None, trace=False, timeout=10.0, env=None, cwd=None, stdout=None
) -> Program:
    """Start a program and wait until it is ready.

    Arguments: program, a path below the course's root or an absolute one; `.py` is run by this Python. args, its
    arguments. ready: True waits for the line `listening on HOST:PORT`, a text for output that holds it, False not at
    all. stdin: None is /dev/null, bytes are written and then closed, "pipe" is for `write`. trace: True, or further
    options of strace as one string. timeout: seconds to become ready, scaled by CHATLAB_TIME_SCALE. env: further
    variables. cwd: default the course's root. stdout: a descriptor instead of the collected pipe, such as a terminal's.
    Returns a Program, to be used in a `with` block. Raises LaunchError: one line, with the program's last words.
    """
    started = Program(program, args, stdin=stdin, trace=trace, timeout=timeout, env=env, cwd=cwd, stdout=stdout)
    try:
        if ready is True:
            started.wait_for(lambda: READY_LINE.search(started.output), "readiness line (listening on HOST:PORT)")
        elif ready:
            started.wait_for_text(ready)
    except BaseException:
        started.stop(grace=0.0)
        raise
    return started


def run(program, *args, stdin=None, trace=False, timeout=10.0, env=None, cwd=None, stdout=None) -> Program:
    """Run a program that ends by itself, to its end, and end what it left behind.

    Arguments as for `launch`. Returns the ended Program: returncode, output, log, trace. Raises LaunchError.
    """
    with launch(
        program, *args, ready=False, stdin=stdin, trace=trace, timeout=timeout, env=env, cwd=cwd, stdout=stdout
    ) as started:
        started.wait()
    return started


def describe_status(returncode: int) -> str:
    """An exit status in words: "exit status 3", "ended by SIGKILL"."""
    if returncode >= 0:
        return f"exit status {returncode}"
    return f"ended by {signal.Signals(-returncode).name}"

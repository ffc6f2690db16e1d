"""pytest kept warm: a process that has imported it, and forks one for each run of the judge.

Each run of the judge is a pytest in a process of its own, and most of its time went into imports, the same each time.
Here they are done once. Each run still is a process of its own, with its own arguments, environment and folder, which
ends with its run: what one run does, no other sees. (The student's process is never made so: it is started anew.)

    python -m chatlab.judge.warm CONTROL_DESCRIPTOR

A request, {"arguments", "folder", "environment"} with the descriptor of its log beside it, is answered by {"status"},
an exit status as subprocess has it. When the asker closes the socket or dies, the process ends, and what it runs.
"""

import atexit
import contextlib
import gc
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

from chatlab.judge import wire

END_SECONDS = 5.0

# The asker's side

_idle: list["WarmPytest"] = []


class WarmPytest:
    """A process that waits with pytest imported, and runs one pytest at a time. Taken from those idle, or started."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        self._channel = wire.Channel(ours)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PYTEST_") and name not in ("CHATLAB_SEED", "CHATLAB_JUDGED_BY")
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chatlab.judge.warm", str(theirs.fileno())],
                cwd=Path(__file__).parents[2],
                env={**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self.returncode: int | None = None
        atexit.register(self._end)

    @classmethod
    def start(cls, arguments: list[str], *, folder: Path, environment: dict[str, str], log: int) -> "WarmPytest":
        """Start a pytest with these arguments: folder, its current one; log, the descriptor for all that it prints."""
        chosen = cls._take_idle() or cls()
        chosen.returncode = None
        request = {"arguments": arguments, "folder": str(folder), "environment": environment}
        with contextlib.suppress(OSError):  # a process that is gone has no status: `wait` says so
            chosen._channel.send(request, [log])
        return chosen

    @classmethod
    def _take_idle(cls) -> "WarmPytest | None":
        while _idle:
            chosen = _idle.pop()
            if chosen._process.poll() is None:
                return chosen
            chosen._end()
        return None

    @property
    def pid(self) -> int:
        """The waiting process; its runs have pids of their own."""
        return self._process.pid

    def fileno(self) -> int:
        """A descriptor that is readable when the run has ended."""
        return self._channel.sock.fileno()

    def wait(self) -> int:
        """Wait for the run's end and return its exit status; that of the waiting process where this one has died."""
        if self.returncode is not None:
            return self.returncode
        try:
            answer = self._channel.receive()
        except OSError:
            answer = None
        if answer is None:
            self._end()
            self.returncode = self._process.returncode or -signal.SIGKILL
        else:
            self.returncode = answer[0]["status"]
            _idle.append(self)
        return self.returncode

    def _end(self) -> None:
        atexit.unregister(self._end)
        self._channel.sock.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


# The waiting process


def _prepare() -> None:
    """Import what every run needs, and ask what every run asks."""
    import pytest

    with open(os.devnull, "w", encoding="utf-8") as nothing, contextlib.redirect_stdout(nothing):
        pytest.main(["--markers"])  # imports its own plugins, and ours
    from chatlab import trace
    from chatlab.judge import contain, student

    contain.tier()
    trace.command(os.devnull)
    del student
    gc.collect()
    gc.freeze()  # what is here stays: a run need not look through it, nor copy its pages


def _serve(channel: wire.Channel) -> None:
    """Run one pytest after the other until the asker is gone; then the one that runs ends too, by its own wish."""
    while (received := channel.receive()) is not None:
        request, [log] = received
        pid = os.fork()
        if pid == 0:
            channel.sock.close()
            _become_pytest(request, log)
        os.close(log)
        ended = os.pidfd_open(pid)
        ready, _, _ = select.select([ended, channel.sock], [], [])
        os.close(ended)
        if channel.sock in ready:
            return
        channel.send({"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})


def _become_pytest(request: dict, log: int) -> None:
    """In the child: be what `python -m pytest` with this environment in this folder would be."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"], CHATLAB_JUDGED_BY=str(os.getppid()))
        sys.path[0] = request["folder"]

        import pytest

        status = int(pytest.main(request["arguments"]))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def main() -> None:
    """Wait for requests as the module's docstring says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the asker, and for the run
    channel = wire.Channel(socket.socket(fileno=int(sys.argv[1])))
    _prepare()
    with contextlib.suppress(OSError):
        _serve(channel)


if __name__ == "__main__":
    main()

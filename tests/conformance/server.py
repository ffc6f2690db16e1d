"""The server under test as a process: started by a command, ready when it listens, ended at the block's end."""

import os
import random
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatlab import course, procfs
from chatlab.chat import stays
from chatlab.launch import LaunchError, launch
from chatlab.launch.program import Program, describe_status, scale
from tests.conformance.room import Room

PORT = "{port}"
PORTS = range(20_000, 30_000)  # below what the kernel gives to connections (ip(7), ip_local_port_range)
READY_SECONDS = 10.0
TRIAL_SECONDS = 5.0
LOOK_SECONDS = 0.002


class ServerError(Exception):
    """The command is none, or does not start: one clear line."""


class Running:
    """A server that runs. `program` is the chatlab.launch.Program."""

    def __init__(self, program: Program, port: int, timeout: float):
        self.program = program
        self.timeout = timeout
        self.port = port
        self.address = ("127.0.0.1", port)
        self.pid = program.pid

    def room(self) -> Room:
        """A Room with this server in it."""
        return Room(self.address, self.pid, self.timeout)


class Server:
    """A command with {port} in it. `ours`: whether it takes the options that every server of this course takes.

    timeout: seconds for each wait, of the server's rooms too, scaled by CHATLAB_TIME_SCALE.
    """

    def __init__(self, command: str, timeout: float = 5.0):
        self.command = command
        self.timeout = timeout
        try:
            self.words = shlex.split(command)
        except ValueError as error:
            raise ServerError(f"--server {command!r}: {str(error).lower()}") from None
        if not any(PORT in word for word in self.words):
            raise ServerError(f'--server "{command}": {PORT} must stand where the command takes its port')
        if self.words[0] in ("python", "python3"):
            self.words[0] = sys.executable
        path = shutil.which(self.words[0], path=f"{course.find_root()}{os.pathsep}{os.environ['PATH']}")
        if path is None:
            raise ServerError(f'--server "{command}": there is no program {self.words[0]}')
        self.words[0] = str(Path(path).absolute())
        self.script = next((word for word in self.words[1:] if word.endswith(".py")), None)
        root = course.find_root()
        parts = Path(os.path.relpath(root / self.script, root)).parts if self.script else ()
        self.ours = parts[:1] in (("labs",), ("solutions",)) or Path(self.script or "").name == "exercises.py"

    @property
    def missing(self) -> str | None:
        """Why the server cannot be started; None when its file is there."""
        if self.script and not (course.find_root() / self.script).is_file():
            return f"{self.script} is not there yet"
        return None

    def arguments(self, port: int, *options: str) -> list[str]:
        """The command with a port, and with further options."""
        return [*(word.replace(PORT, str(port)) for word in self.words[1:]), *options]

    def launch(self, port: int, *options: str) -> Program:
        """Start it, and wait for nothing."""
        return launch(self.words[0], *self.arguments(port, *options), ready=False, timeout=self.timeout)

    @contextmanager
    def start(self, *options: str, port: int | None = None, seconds: float = READY_SECONDS) -> Iterator[Running]:
        """Start it and wait until it listens, so many seconds (scaled) at most. Raises ServerError."""
        port = port or free_port()
        try:
            program = self.launch(port, *options)
        except LaunchError as error:
            raise ServerError(str(error)) from error
        with program:
            self._wait_until_it_listens(program, port, seconds)
            yield Running(program, port, self.timeout)

    def try_out(self) -> None:
        """Start it once, before the cases: each of them would say the same. Raises ServerError."""
        if self.missing:
            raise ServerError(f'--server "{self.command}": {self.script} is not there')
        with self.start(seconds=TRIAL_SECONDS) as running:
            if not stays(running.program):
                raise ServerError(f"{self.command} with port {running.port}: {last_words(running.program)}")

    def _wait_until_it_listens(self, program: Program, port: int, seconds: float) -> None:
        # Not every server says so: the kernel's table is looked at again and again.
        deadline = time.monotonic() + seconds * scale()
        while not listens(port):
            if program.returncode is not None or time.monotonic() > deadline:
                raise ServerError(f"{self.command} with port {port}: {last_words(program)}")
            time.sleep(LOOK_SECONDS)


def last_words(program: Program) -> str:
    """How it is with a program that does not serve, and the last line of its log."""
    said = program.log.strip().splitlines()
    how = "does not listen" if program.returncode is None else describe_status(program.returncode)
    return f"{how}: {said[-1] if said else 'it said nothing'}"


def free_port() -> int:
    """A port on which nobody listens."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError("no port is free")


def listens(port: int) -> bool:
    """Whether somebody listens on the port, by the kernel's table: a connect to find out would disturb the server."""
    return any(each.state == "LISTEN" and each.local[1] == port for each in procfs.tcp_sockets(port))

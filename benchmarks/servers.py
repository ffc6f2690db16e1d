"""Which servers are measured: those of labs 04 and 05, their peers, and those that a person adds."""

import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chatlab.chat import stays
from chatlab.launch import LaunchError, launch
from chatlab.launch.program import Program, describe_status, scale

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
BUILD = ROOT / "benchmarks" / "build"
REFERENCE = "lab 04"
FORKS = "lab 05"
FORKS_MOST_CLIENTS = 1024  # its --max-clients
START_SECONDS = 5.0
LOOK_SECONDS = 0.02
PORT = "{port}"


class BenchError(Exception):
    """What was asked for cannot be measured: one clear line."""


@dataclass(frozen=True)
class Server:
    """A relay to measure. `program` and `arguments` are for `launch`; one of them may hold {port}.

    most: so many clients it takes, where there is a limit. with_more_sizes: whether its deliveries are counted with
    further numbers of clients. with_children: whether it has a process for each client.
    """

    name: str
    program: str
    arguments: tuple[str, ...] = ()
    most: int | None = None
    with_more_sizes: bool = False
    with_children: bool = False

    @contextmanager
    def running(self) -> Iterator[tuple[Program, tuple[str, int]]]:
        """The server while the block runs: the Program, and the address that it listens on. Raises LaunchError."""
        if any(PORT in argument for argument in self.arguments):
            address = ("127.0.0.1", unused_port())
            arguments = [argument.replace(PORT, str(address[1])) for argument in self.arguments]
            with launch(self.program, *arguments, ready=False) as program:
                wait_until_it_listens(program, address)
                yield program, address
        else:
            with launch(self.program, *self.arguments, "--port", "0", timeout=START_SECONDS) as program:
                yield program, program.address


def of_the_course() -> tuple[list[Server], dict[str, str]]:
    """The servers to measure, the reference first; and those left out here, name to the reason."""
    forks = "labs/05_epoll_fork_shm/fork_shm_server.py"
    servers = [
        Server(REFERENCE, "labs/04_poll_server/poll_server.py", with_more_sizes=True),
        Server(FORKS, forks, most=FORKS_MOST_CLIENTS, with_more_sizes=True, with_children=True),
    ]
    left_out = {}
    for name in ("epoll_batched", "epoll_per_read"):
        label = "C batched" if name == "epoll_batched" else "C per read"
        try:
            servers.append(Server(label, str(compiled(name)), with_more_sizes=name == "epoll_per_read"))
        except BenchError as error:
            left_out[label] = str(error)
    servers.append(Server("asyncio", str(PEERS / "asyncio_protocol.py")))
    if importlib.util.find_spec("uvloop"):
        servers.append(Server("uvloop", str(PEERS / "asyncio_protocol.py"), ("--uvloop",)))
    else:
        left_out["uvloop"] = "uvloop is not installed in this environment: make bench installs it"
    servers.append(Server("asyncio streams", str(PEERS / "asyncio_streams.py")))
    return servers, left_out


def of_a_command(command: str) -> Server:
    """A person's own server: "program arguments {port}", or without {port} a program that takes --port 0 and says where
    it listens, as the course's do. Raises BenchError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BenchError(f"--server {command!r}: {str(error).lower()}") from None
    if not words:
        raise BenchError('--server is empty: name a program, as in --server "command {port}"')
    found = place_of(words[0]) or shutil.which(words[0])
    if found is None:
        raise BenchError(f"--server {command!r}: there is no program {words[0]}")
    script = next((word for word in words if word.endswith(".py")), words[0])
    return Server(name_of(place_of(script) or Path(script)), str(found), tuple(words[1:]), with_more_sizes=True)


def try_out(server: Server) -> None:
    """Start a server once: one that does not start is told of at once, not after the others' minutes.

    Raises LaunchError, BenchError.
    """
    with server.running() as (program, _):
        if not stays(program):
            said = program.log.strip().splitlines()
            words = f": {said[-1]}" if said else ""
            raise BenchError(
                f"{program.name} ended as soon as it listened: {describe_status(program.returncode)}{words}"
            )


def place_of(word: str) -> Path | None:
    """The file that a person means, from where she is or from the course's root; None when there is none."""
    return next((path.resolve() for path in (Path.cwd() / word, ROOT / word) if path.is_file()), None)


def name_of(path: Path) -> str:
    """A program's name in tables and figures: its path below the course's root, else the end of its path."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else "/".join(path.parts[-2:])


def compiled(name: str) -> Path:
    """A peer in C, compiled when it is not or its source is newer. Raises BenchError without a compiler."""
    target = BUILD / name
    sources = [PEERS / "relay.c", PEERS / f"{name}.c"]
    newest = max(path.stat().st_mtime for path in [*sources, PEERS / "relay.h"])
    if target.exists() and target.stat().st_mtime > newest:
        return target
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("there is no C compiler, cc: sudo apt-get install gcc (Debian, Ubuntu)")
    BUILD.mkdir(exist_ok=True)
    fresh = target.with_name(f"{name}.{os.getpid()}")  # never half of a program under its name
    done = subprocess.run(
        [compiler, "-O2", "-o", str(fresh), *map(str, sources)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = next((line for line in done.stderr.splitlines() if "error" in line), "it gives no reason")
        raise BenchError(f"cc cannot compile {name}.c: {words}")
    fresh.rename(target)
    return target


def versions() -> dict[str, str]:
    """What the servers are made with."""
    found = {"uvloop": importlib.metadata.version("uvloop")} if importlib.util.find_spec("uvloop") else {}
    if compiler := shutil.which("cc"):
        said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
        found["cc"] = said.splitlines()[0] if said else "unknown"
    return found


def unused_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_it_listens(program: Program, address: tuple[str, int]) -> None:
    """Wait until a connect succeeds, for a server that does not say when it is ready. Raises LaunchError."""
    deadline = time.monotonic() + START_SECONDS * scale()
    while True:
        try:
            socket.create_connection(address, timeout=START_SECONDS).close()
            return
        except OSError:
            ended = program.returncode is not None
            if ended or time.monotonic() > deadline:
                why = f"ended with status {program.returncode}" if ended else f"waited {START_SECONDS * scale():g} s"
                said = (program.log or program.output).strip().splitlines()
                words = f": {said[-1]}" if said else ""
                raise LaunchError(f"{program.name} does not listen on port {address[1]}: {why}{words}") from None
        time.sleep(LOOK_SECONDS)

"""Lab 1: fork, from one call that returns twice to a server with a child for each connection."""

import re
import signal
import time

from chatlab.launch import launch
from chatlab.tours import Run, Scene, Traced

SERVER = "labs/01_fork/fork_server.py"
SAMPLED_SECONDS = 2.0
LOOK_SECONDS = 0.01


def two_clients() -> Scene:
    """Two clients that overlap, each served by a child of its own."""
    with launch(SERVER, "--port", "0", trace=True) as server:
        with server.connect() as first, server.connect() as second:
            children = [_greet(server, client) for client in (first, second)]
            _wait_for_the_sampler(server, children)
        for child in children:
            server.wait_for_text(f"child {child} reaped", where="log")
        by_hand = (f"python {SERVER} --port {server.port}", f"nc 127.0.0.1 {server.port}    # twice, at once")
        server.signal(signal.SIGTERM)
        server.wait()
        return Scene(by_hand, server.log, server.trace)


def _greet(server, client) -> str:
    """Have the server echo a line to this client; the pid of the child that did."""
    with client.makefile("rwb") as lines:
        lines.write(b"hello\n")
        lines.flush()
        lines.readline()
    mark = f":{client.getsockname()[1]}: child "
    server.wait_for_text(mark, where="log")
    return re.search(rf"{mark}(\d+)", server.log)[1]


def _wait_for_the_sampler(server, children: list[str]) -> None:
    """Without strace: until /proc was looked at while both children held their connections, or SAMPLED_SECONDS."""
    end = time.monotonic() + SAMPLED_SECONDS
    while not (trace := server.trace).exact and time.monotonic() < end:
        seen = {str(record.pid) for record in trace.descriptors if record.kind == "tcp"}
        if seen.issuperset(children):
            return
        time.sleep(LOOK_SECONDS)


TOUR = [
    Run(
        "One process calls fork; two return from it, each with its own copy of every variable.",
        "python labs/01_fork/fork_demo.py --part fork",
    ),
    Run(
        "Which of the two runs first is up to the kernel, unless one waits for the other.",
        "python labs/01_fork/fork_demo.py --part order",
    ),
    Run(
        "Text that waits in a buffer is copied too, and then printed by both.",
        "python labs/01_fork/fork_demo.py --part buffer",
    ),
    Run(
        "A child that has ended stays as a zombie until its parent has waited for it.",
        "python labs/01_fork/fork_demo.py --part zombies",
    ),
    Run(
        "After fork both hold the connection. Closing one copy does not end it: the last close does.",
        "python labs/01_fork/fork_demo.py --part connection",
    ),
    Run(
        "fork can fail, and errno says why.",
        "python labs/01_fork/fork_demo.py --part failure",
    ),
    Traced(
        "The server with two clients at once, as the kernel saw it: who held which socket, and when.",
        two_clients,
        ("tcp", "listener"),
        "The parent closed each connection right after its fork; the client noticed nothing, since the child held it.",
    ),
]

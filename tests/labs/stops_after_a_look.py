"""Lab 05's server, or its pitfall heard-too-late, with a breakpoint: the parent stops when it has looked.

    python tests/labs/stops_after_a_look.py reference|pitfall --port 0

At SIGUSR1 it says "armed". From then on it stops itself (SIGSTOP), once, as soon as it has looked at what a child has
said. So whatever is said until SIGCONT comes between two of its steps, for certain.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "labs" / "05_epoll_fork_shm"))

import fork_shm_server
import pitfalls

SERVERS = {"reference": fork_shm_server.ForkShmServer, "pitfall": pitfalls.HeardTooLate}
armed = []


def arm(*_) -> None:
    armed.append(True)
    print("armed", flush=True)


def stopping(server_class: type) -> type:
    class Stopping(server_class):
        def gather(self, child) -> None:
            super().gather(child)
            if armed:
                armed.clear()
                os.kill(os.getpid(), signal.SIGSTOP)

    return Stopping


signal.signal(signal.SIGUSR1, arm)
fork_shm_server.main(stopping(SERVERS[sys.argv.pop(1)]))

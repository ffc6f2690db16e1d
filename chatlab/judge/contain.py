"""Where student code runs: in namespaces of its own when bubblewrap is there, else under a subreaper.

With bubblewrap: own pid, ipc and uts namespaces; the file system read-only but for the scratch folder; private /tmp,
/dev and /dev/shm; all of it dies with the judge. The network is shared: a judge connects to the student's servers.
Without: nothing is isolated, but the supervisor still ends every process that is left.
"""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

BUBBLEWRAP = "bubblewrap"
SUBREAPER = "subreaper"
TRY_SECONDS = 20
_NAMESPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--as-pid-1")


def tier() -> str:
    """The containment that works here: "bubblewrap" or "subreaper". CHATLAB_SANDBOX=subreaper forces the second."""
    if os.environ.get("CHATLAB_SANDBOX") == SUBREAPER:
        return SUBREAPER
    bwrap = shutil.which("bwrap")
    return BUBBLEWRAP if bwrap is not None and _works(bwrap) else SUBREAPER


@functools.cache
def _works(bwrap: str) -> bool:
    """Whether this bubblewrap can make namespaces here. Tried once."""
    command = [bwrap, *_NAMESPACES, "--ro-bind", "/", "/", "--proc", "/proc", "--", "true"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def prefix(readable: list[Path], writable: list[Path]) -> list[str]:
    """The argv to put before a supervisor's: empty when there is no bubblewrap.

    readable: folders that the student's process must see even when they lie under /tmp, which it has a private one of.
    writable: the only folders that it can write to, besides its private ones.
    """
    if tier() == SUBREAPER:
        return []
    command = ["bwrap", *_NAMESPACES, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
    homes = [Path(sys.prefix), Path(sys.base_prefix), *readable]
    for folder in dict.fromkeys(path.resolve() for path in homes):
        if folder.is_relative_to("/tmp"):
            command += ["--ro-bind", str(folder), str(folder)]
    for folder in writable:
        command += ["--bind", str(folder), str(folder)]
    return [*command, "--"]

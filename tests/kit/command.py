"""The command line as a student has it: a process, without a terminal, with its output and exit status."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from chatlab.launch.program import scale

LIMIT_SECONDS = 240.0  # far beyond what any command takes: it only ends a hang


def environment(**changes: str | None) -> dict[str, str]:
    """This environment without what pytest and the caller set; changes: variables to set, or None to leave out."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "CHATLAB_"))}
    kept = kept | {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "100", **changes}
    if scale() != 1:
        kept.setdefault("CHATLAB_TIME_SCALE", str(scale()))
    return {name: value for name, value in kept.items() if value is not None}


def chatlab(*arguments: str, cwd: Path, **changes: str | None) -> subprocess.CompletedProcess:
    """Run `chatlab ARGUMENTS` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "chatlab", *arguments],
        cwd=cwd,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS * scale(),
        check=False,
    )


@contextlib.contextmanager
def started(*arguments: str, cwd: Path, output: Path, **changes: str | None) -> Iterator[subprocess.Popen]:
    """`chatlab ARGUMENTS` in a session of its own, its output and errors in a file; at the end of the block its end."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            # pytest-xdist's workers ignore SIGINT, and what they start would too.
            ["env", "--default-signal=INT", sys.executable, "-m", "chatlab", *arguments],
            cwd=cwd,
            env=environment(**changes),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def path_without(folder: Path, *missing: str) -> str:
    """A PATH, made of links in `folder`, that has what the kit needs except the `missing` programs."""
    folder.mkdir()
    for name in ("strace", "bwrap", "unshare", "env", "sh", "true", "python3"):
        found = next((Path(place, name) for place in os.get_exec_path() if Path(place, name).exists()), None)
        if found and name not in missing:
            (folder / name).symlink_to(found)
    return str(folder)

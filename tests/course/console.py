"""Console blocks of handouts: commands to type and, beneath each, what it prints.

    ```console
    $ python labs/01_fork/fork_demo.py --part returns
    the parent is process …
    …
    $ make check-9                      # exit status 1
    ```

In expected output `…` matches any part of a line, and a line of only `…` any number of lines. A command without output
beneath it only has to end with its exit status, 0 unless a comment says otherwise. The commands of a block run one
after the other in one shell. A block marked ```console no-run is not run.
"""

import contextlib
import os
import re
import secrets
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

ANY = "…"
ANY_LINES = r"(?:.*\n)*?"
STATUS = re.compile(r"\s+# exit status (\d+)$")


@dataclass(frozen=True)
class Command:
    """One command, the lines expected of it (None: not looked at) and its exit status."""

    text: str
    expected: tuple[str, ...] | None
    status: int


@dataclass(frozen=True)
class Block:
    """One console block: where it stands, whether it is run, its commands."""

    path: Path
    line: int
    is_run: bool
    commands: tuple[Command, ...]


class ConsoleError(Exception):
    """A console block is not in its form; str() is one line."""


def parse_commands(lines: list[str]) -> tuple[Command, ...]:
    """Read the lines of one block. Raises ConsoleError."""
    groups: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            groups.append((line[2:], []))
        elif not groups:
            raise ConsoleError(f"{line!r} stands before the first command: begin it with `$ `")
        elif groups[-1][0].endswith("\\") and not groups[-1][1] and line.startswith("> "):
            groups[-1] = (f"{groups[-1][0][:-1].rstrip()} {line[2:].strip()}", [])
        else:
            groups[-1][1].append(line)
    return tuple(_command(text, output) for text, output in groups)


def _command(text: str, output: list[str]) -> Command:
    status = STATUS.search(text)
    while output and not output[-1].strip():
        output.pop()
    return Command(STATUS.sub("", text).strip(), tuple(output) or None, int(status[1]) if status else 0)


def blocks(path: Path) -> list[Block]:
    """The console blocks of a Markdown file. Raises ConsoleError."""
    found, start, info, indent, body = [], 0, None, 0, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fence = re.match(r"( *)```(.*)$", line)
        if fence and info is None:
            start, info, indent, body = number, fence[2].split(), len(fence[1]), []
        elif fence and not fence[2].strip():
            if info[:1] == ["console"]:
                found.append(_block(path, start, info[1:], body))
            info = None
        elif info is not None:
            body.append(line[indent:])
    return found


def _block(path: Path, line: int, words: list[str], body: list[str]) -> Block:
    if words not in ([], ["no-run"]):
        raise ConsoleError(f"{path.name}:{line}: `console` is followed by {' '.join(words)!r}: only `no-run` is known")
    try:
        commands = parse_commands(body)
    except ConsoleError as error:
        raise ConsoleError(f"{path.name}:{line}: {error}") from None
    if not commands:
        raise ConsoleError(f"{path.name}:{line}: the block has no command: begin one with `$ `")
    return Block(path, line, not words, commands)


def matches(expected: tuple[str, ...], printed: list[str]) -> bool:
    """Whether the printed lines are the expected ones, `…` standing for anything; a line's last spaces do not count."""
    pattern = "".join(ANY_LINES if line.strip() == ANY else _line_pattern(line) for line in expected)
    return bool(re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in printed)))


def _line_pattern(expected: str) -> str:
    return ".*".join(re.escape(part) for part in expected.rstrip().split(ANY)) + "\n"


def run(block: Block, cwd: Path, env: dict[str, str], seconds: float) -> list[tuple[int, list[str]]]:
    """Run a block's commands in one bash; return exit status and printed lines (both outputs) of each.

    Raises ConsoleError when bash ends before the last command, and subprocess.TimeoutExpired.
    """
    mark = f"--{secrets.token_hex(8)}--"
    script = "".join(f"{command.text}\nprintf '\\n{mark}%d\\n' $?\n" for command in block.commands)
    parts = re.split(rf"\n{mark}(\d+)\n", _run_bash(script, cwd, env, seconds))
    outputs, statuses = parts[:-1:2], [int(status) for status in parts[1::2]]
    if len(statuses) != len(block.commands):
        raise ConsoleError(f"bash ended at command {len(statuses) + 1} of the block: {parts[-1][-500:]}")
    return [(status, _lines(output)) for status, output in zip(statuses, outputs, strict=True)]


def _run_bash(script: str, cwd: Path, env: dict[str, str], seconds: float) -> str:
    """What a bash script and all that it started print; its process group is ended afterwards."""
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    ) as bash:
        try:
            return bash.communicate(timeout=seconds)[0]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(bash.pid, signal.SIGKILL)


def _lines(output: str) -> list[str]:
    lines = output.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def complaint(command: Command, status: int, printed: list[str]) -> str | None:
    """What is wrong with a command's result, or None."""
    shown = "\n".join(["It printed:", *(f"  {line}" for line in printed[-60:])])
    if status != command.status:
        return f"$ {command.text}\nended with exit status {status}, not {command.status}.\n{shown}"
    if command.expected is not None and not matches(command.expected, printed):
        wanted = "\n".join(f"  {line}" for line in command.expected)
        return f"$ {command.text}\nprinted something else than the handout shows:\n{wanted}\n{shown}"
    return None

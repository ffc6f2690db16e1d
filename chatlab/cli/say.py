"""How the commands speak: plain text, in colour only on a terminal; trouble in one line on standard error."""

import functools
import sys
from pathlib import Path
from typing import NoReturn

import typer

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="chatlab: a teaching lab for Linux I/O multiplexing. Begin with: chatlab lab 1",
)


class Failure(typer.exceptions.TyperException):
    """The command cannot do what was asked; str() is one line with the cure."""


class Misuse(Failure):
    """What was asked is wrong in itself."""

    exit_code = 2


@functools.cache
def console():
    """Standard output. Lines are never wrapped or shortened, so that what is piped on is what was said."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def say(text: str = "", style: str | None = None) -> None:
    """Print one line or more."""
    console().print(text, style=style)


def complain(text: str) -> None:
    """Print one line of trouble that does not end the command."""
    print(f"chatlab: {text}", file=sys.stderr, flush=True)


def not_built(what: str, when: str) -> NoReturn:
    """Say that a later stage of the course brings `what`. The status is 1: what was asked for was not done."""
    raise Failure(f"{what} is not built yet: {when}")


def short(path: Path, root: Path) -> str:
    """A path as people write it: from the course's root when it is below."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


@app.callback(invoke_without_command=True)
def _without_a_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


# Each registers its commands with `app`, in the order of the help text.
from chatlab.cli import study  # noqa: E402, F401, I001
from chatlab.cli import books  # noqa: E402, F401
from chatlab.cli import chat  # noqa: E402, F401
from chatlab.cli import house  # noqa: E402, F401
from chatlab.cli import bench  # noqa: E402, F401
from chatlab.cli import figure  # noqa: E402, F401

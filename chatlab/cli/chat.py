"""The commands of the chat: chat, join."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from chatlab import course as courses
from chatlab.cli.say import Failure, app, say

SERVER = "labs/04_poll_server/poll_server.py"
PORT = 9999
Port = Annotated[int, typer.Option(min=0, max=65535, help="The room's TCP port; for chat, 0: the kernel chooses.")]


@app.command()
def chat(
    server: Annotated[str, typer.Option(metavar="PROGRAM", help="The server: a program with --port.")] = SERVER,
    port: Port = PORT,
) -> None:
    """Open a room with a server of the course, or your own, and chat in it until ^D or ^C."""
    from chatlab import chat as rooms
    from chatlab.launch import LaunchError

    check_standard_output()
    root = courses.find_root()
    program = next((place for place in (Path.cwd() / server, root / server) if place.is_file()), None)
    if program is None:
        raise Failure(f"{server} is not there: --server names a program, such as {SERVER}")
    joining = "make join" if port == PORT else "make join PORT={port}"
    try:
        status = rooms.host(root, program, port, joining, say_now)
    except rooms.RoomFault as fault:
        raise Failure(str(fault)) from None
    except LaunchError as error:
        if os.strerror(errno.EADDRINUSE) not in str(error):
            raise
        raise Failure(f"{error}: make chat PORT=N chooses another, PORT=0 lets the kernel choose") from None
    raise typer.Exit(status)


def check_standard_output() -> None:
    """Raises Failure when standard output is closed, as by `>&-`: Python has none then."""
    if sys.stdout is None:
        raise Failure("standard output is closed")


def say_now(text: str) -> None:
    """Print at once, for a reader who waits. Raises Failure when standard output takes no more; BrokenPipeError."""
    try:
        say(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # the reader has gone: no words, as in every command
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more at its end
        raise Failure(f"cannot go on: {error.strerror}") from None


@app.command()
def join(
    port: Port = PORT,
    host: Annotated[str, typer.Option(metavar="HOST", help="Where the room is.")] = "127.0.0.1",
) -> None:
    """Join a room that somebody has opened with chat, until ^D or ^C."""
    from chatlab import chat as rooms

    check_standard_output()
    try:
        status = rooms.join(courses.find_root(), host, port, say_now)
    except rooms.RoomFault as fault:
        raise Failure(str(fault)) from None
    raise typer.Exit(status)

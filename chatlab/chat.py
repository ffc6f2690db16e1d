"""A room to chat in: a server of the course, and its user in it with lab 03's client."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chatlab import procfs
from chatlab.launch import launch
from chatlab.launch.program import Program, describe_status, scale

CLIENT = "labs/03_poll_client/poll_client.py"
LOOK_MILLISECONDS = 100
READ_SECONDS = 2.0
LEAVE_SECONDS = 5.0
SETTLE_SECONDS = 2.0
SETTLE_LOOK_SECONDS = 0.005
NO_ROOM = "cannot connect to "
FIN_ARRIVED = "FIN_WAIT2"
FIN_SENT = ("FIN_WAIT1", FIN_ARRIVED)


class RoomFault(Exception):
    """The room ended by itself, or there is none: one clear line."""


def host(root: Path, program: Path, port: int, joining: str, say: Callable[[str], None]) -> int:
    """Open a room, tell how others join it, and put the user into it until ^D or ^C.

    Arguments: root, the course's; program, the server's path; port, 0 lets the kernel choose; joining, the command
    with which others join, {host} and {port} in it; say, prints a line at once.
    Returns the exit status: 0, or the client's, which has then said why. Raises LaunchError, RoomFault.
    """
    with launch(str(program), "--port", port) as server:
        if not stays(server):
            raise RoomFault(_last_words(server))
        name, number = server.address
        say(f"The room is open at {name}:{number}. Others join it, each in a terminal of their own, with")
        say(f"  {joining.format(host=name, port=number)}\n  nc {name} {number}")
        say("What you type goes to everyone else. ^D or ^C ends the room.")
        client = subprocess.Popen(command(root, name, number))
        try:
            left = _wait_until_left(client, server.port)
            if left:
                _wait_until_said(server.pid)
        except KeyboardInterrupt:
            left = True
            _interrupt(client, say)
        # A server that falls closes its connections before it can be reaped: then it never sleeps again.
        fault = None if left or stays(server) else _last_words(server)
        server.stop()
        status = _ended(client)
    if fault:
        raise RoomFault(fault)
    say("The room is closed.")
    return max(status, 0)


def join(root: Path, host: str, port: int, say: Callable[[str], None]) -> int:
    """Put the user into somebody's room until ^D, ^C or the room's end.

    Arguments: root, the course's; host and port, the room's; say, prints a line at once.
    Returns the exit status: 0, or the client's, which has then said why. Raises RoomFault when there is no room.
    """
    client = subprocess.Popen(command(root, host, port), stderr=subprocess.PIPE)  # it says things at its end only
    try:
        left = _wait_until_left(client, port)
        if left:
            client.terminate()
    except KeyboardInterrupt:
        left = True
        _interrupt(client, say)
    status = _ended(client)
    words = client.stderr.read().decode("utf-8", "backslashreplace").strip()
    if NO_ROOM in words:
        raise RoomFault(f"{words.partition(': ')[2]}: make chat opens a room")
    if words:
        print(words, file=sys.stderr, flush=True)
    if left:
        say("You have left the room.")
    return max(status, 0)


def command(root: Path, host: str, port: int) -> list[str]:
    """The command that joins a room."""
    return [sys.executable, str(root / CLIENT), host, str(port)]


def _interrupt(client: subprocess.Popen, say: Callable[[str], None]) -> None:
    """Hand a ^C on: a terminal has done so, `kill -INT` of this program alone has not."""
    say("")  # the terminal shows ^C, and stays on its line
    client.send_signal(signal.SIGINT)


def stays(server: Program) -> bool:
    """Whether a server that listens goes on to serve: it sleeps, or is at work still after a while; False: it ended.

    An exercise that is not started listens, says so, and only then ends: who connects in between is refused.
    """
    deadline = time.monotonic() + SETTLE_SECONDS * scale()
    while server.returncode is None and time.monotonic() < deadline:
        stat = procfs.stat(server.pid)
        if stat and stat.state == "S":
            return True
        time.sleep(SETTLE_LOOK_SECONDS)
    if server.returncode is None:
        return True
    server.wait()  # its last words have come
    return False


def _wait_until_left(client: subprocess.Popen, port: int) -> bool:
    """Wait for the client's end (False), or until its input has ended and the server has read all of it (True).

    The client itself would stay, and print what the others say, for as long as the server lets it.
    """
    pidfd = os.pidfd_open(client.pid)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    deadline = None
    try:
        while not poller.poll(LOOK_MILLISECONDS):
            sent, unread = _half_closed(client.pid, port)
            if not sent:
                continue
            deadline = deadline or time.monotonic() + READ_SECONDS * scale()
            if not unread or time.monotonic() > deadline:
                return True
        return False
    finally:
        os.close(pidfd)


def _wait_until_said(pid: int) -> None:
    """Wait, though not for ever, until a server has handed on what it has read.

    That is when it has slept once; with a process for each client the child that read it, then the parent, then all.
    """
    deadline = time.monotonic() + READ_SECONDS * scale()
    children = procfs.children(pid)
    for each in (*children, pid, *children):
        while (stat := procfs.stat(each)) and stat.state not in "SZX" and time.monotonic() < deadline:
            time.sleep(SETTLE_LOOK_SECONDS)


def _half_closed(pid: int, port: int) -> tuple[bool, bool]:
    """Whether the process has sent a FIN to that port, and whether the other side has something to read still.

    Of a server on another machine it is known whether the FIN, and so all before it, has arrived.
    """
    sockets = set(procfs.descriptors(pid).values())
    ends = {(end.local, end.remote): end for end in procfs.tcp_sockets(port)}
    for (local, remote), end in ends.items():
        if remote[1] == port and end.state in FIN_SENT and f"socket:[{end.inode}]" in sockets:
            other = ends.get((remote, local))
            return True, end.state != FIN_ARRIVED if other is None else other.unread > 0
    return False, False


def _last_words(server) -> str:
    words = server.log.strip().splitlines()
    return f"the server, {server.name}, ended: {describe_status(server.returncode)}" + (
        f": {words[-1]}" if words else ""
    )


def _ended(client: subprocess.Popen) -> int:
    """The client's exit status, soon after the server's end."""
    try:
        return client.wait(LEAVE_SECONDS * scale())
    except subprocess.TimeoutExpired:
        client.kill()
        return client.wait()

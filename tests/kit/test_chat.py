"""chat and join as their user has them: on a terminal, with real servers and clients, and nothing left behind."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from chatlab import procfs
from chatlab.chat import LOOK_MILLISECONDS
from chatlab.launch.program import scale
from tests.kit.command import chatlab, environment
from tests.kit.waiting import LIMIT_SECONDS, alive, until

ROOT = Path(__file__).resolve().parents[2]
FORKS = "labs/05_epoll_fork_shm/fork_shm_server.py"
END_OF_INPUT, INTERRUPT = "\x04", "\x03"

LISTENS = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
"""
# Takes one client, and falls.
FALLING = LISTENS + 'listener.accept()[0].recv(100)\nsys.exit("it was too much")\n'
STUB = 'raise NotImplementedError("exercise 4.7 is not started")\n'


class Terminal:
    """A terminal with a command of the kit in it, as its session's leader."""

    def __init__(self, *arguments: str):
        self.main, self.side = pty.openpty()
        self.shown = ""
        self.settings = termios.tcgetattr(self.side)
        # setsid makes the terminal the controlling one: ^C in it is a SIGINT to all who run there.
        command = ["setsid", "--ctty", "env", "--default-signal=INT", sys.executable, "-m", "chatlab", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdin=self.side, stdout=self.side, stderr=self.side
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        os.close(self.main)
        os.close(self.side)

    def type(self, text: str) -> None:
        os.write(self.main, text.encode())

    def see(self, pattern: str) -> re.Match:
        """Wait until what is shown matches."""
        deadline = time.monotonic() + LIMIT_SECONDS * scale()
        while not (found := re.search(pattern, self.shown)):
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.main], [], [], left)[0], f"no {pattern!r} in {self.shown!r}"
            self.shown += os.read(self.main, 65536).decode().replace("\r\n", "\n")
        return found

    def end(self) -> int:
        """Wait for the command's end, and for all that it has printed; its status."""
        until(lambda: self.process.poll() is not None, "the command's end")
        while select.select([self.main], [], [], 0)[0]:
            self.shown += os.read(self.main, 65536).decode().replace("\r\n", "\n")
        return self.process.returncode

    def is_as_before(self) -> bool:
        """Whether the terminal has the settings that it began with, and nobody made it non-blocking."""
        return termios.tcgetattr(self.side) == self.settings and not (
            fcntl.fcntl(self.side, fcntl.F_GETFL) & os.O_NONBLOCK
        )


def port_of(terminal: Terminal) -> int:
    """The port of the room, once its user can chat."""
    port = int(terminal.see(r"room is open at 127\.0\.0\.1:(\d+)")[1])
    terminal.see(r"ends the room\.\n")
    return port


def wait_for_members(port: int, count: int) -> None:
    """Wait until so many are connected: a room accepts all who are there before it reads."""

    def connected() -> int:
        return sum(end.local[1] == port and end.state == "ESTABLISHED" for end in procfs.tcp_sockets(port))

    until(lambda: connected() == count, f"{count} in the room")


def joined(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECONDS * scale())


def receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (chunk := sock.recv(count - len(data))):
        data += chunk
    return data


each_key = pytest.mark.parametrize("key", [END_OF_INPUT, INTERRUPT], ids=["^D", "^C"])


@each_key
def test_its_user_is_in_the_room_and_leaves_nothing_behind(key):
    with Terminal("chat", "--port", "0") as terminal:
        with joined(port := port_of(terminal)) as guest:
            wait_for_members(port, 2)
            terminal.type("hello from the keyboard\n")
            assert receive(guest, 24) == b"hello from the keyboard\n"
            guest.sendall(b"hello from nc\n")
            terminal.see("hello from nc\n")
            tree = [stat.pid for stat in procfs.descendants(terminal.process.pid)]
            terminal.type(key)
            assert receive(guest, 1) == b""
        assert terminal.end() == 0
        assert terminal.shown.endswith("The room is closed.\n")
        assert terminal.is_as_before()
        assert len(tree) >= 3  # the supervisor, the server, the client
        until(lambda: not any(map(alive, tree)), "the end of all that chat had started")


def test_what_was_typed_right_before_the_end_of_input_is_said():
    with Terminal("chat", "--port", "0") as terminal:
        with joined(port := port_of(terminal)) as guest:
            wait_for_members(port, 2)
            terminal.type("last words\n" + END_OF_INPUT)
            assert receive(guest, 100) == b"last words\n"
        assert terminal.end() == 0


def test_a_parent_that_is_slower_than_its_child_says_it_too():
    with Terminal("chat", "--port", "0", "--server", FORKS) as terminal:
        with joined(port := port_of(terminal)) as guest:
            wait_for_members(port, 2)
            guest.sendall(b"I am in\n")
            terminal.see("I am in\n")
            [parent] = [stat.pid for stat in procfs.descendants(terminal.process.pid) if is_parent(stat)]
            os.kill(parent, signal.SIGSTOP)
            terminal.type("last words\n" + END_OF_INPUT)
            until(lambda: half_closed(port), "the end of input, which the child has read")
            assert select.select([guest], [], [], 3 * LOOK_MILLISECONDS / 1000)[0] == []
            os.kill(parent, signal.SIGCONT)
            assert receive(guest, 100) == b"last words\n"
        assert terminal.end() == 0


def is_parent(stat: procfs.Stat) -> bool:
    """Whether it is the server itself, below the supervisor: its children have the same command line."""
    line, above = procfs.command_line(stat.pid), procfs.command_line(stat.parent)
    return f"{FORKS} --port" in line and line != above


def half_closed(port: int) -> bool:
    """Whether a client of the room has sent FIN, and the server has read all that came before."""
    return any(
        end.local[1] == port and end.state == "CLOSE_WAIT" and not end.unread for end in procfs.tcp_sockets(port)
    )


@each_key
def test_others_join_from_their_terminals(key):
    with Terminal("chat", "--port", "0") as host:
        port = port_of(host)
        assert f"make join PORT={port}\n  nc 127.0.0.1 {port}\n" in host.shown
        with Terminal("join", "--port", str(port)) as guest:
            wait_for_members(port, 2)
            guest.type("may I come in?\n")
            host.see(r"may I come in\?\n")
            host.type("do\n")
            guest.see(r"in\?\ndo\n")
            guest.type(key)
            assert guest.end() == 0
            assert guest.shown.endswith("You have left the room.\n")
            assert guest.is_as_before()
        with Terminal("join", "--port", str(port)) as guest:
            wait_for_members(port, 2)
            guest.type("here again\n")
            host.see("here again\n")
            host.type(END_OF_INPUT)
            assert host.end() == 0
            guest.end()
            assert "the server closed the connection" in guest.shown


def test_a_killed_chat_takes_the_server_with_it():
    with Terminal("chat", "--port", "0") as terminal:
        with joined(port_of(terminal)) as guest:
            tree = [stat.pid for stat in procfs.descendants(terminal.process.pid)]
            terminal.process.kill()
            assert receive(guest, 1) == b""
        until(lambda: not any(map(alive, tree)), "the end of all that chat had started")


def test_a_server_of_ones_own_that_falls_is_told_in_one_line(tmp_path):
    server = tmp_path / "server.py"
    server.write_text(FALLING)
    with Terminal("chat", "--server", str(server), "--port", "0") as terminal:
        port_of(terminal)
        terminal.type("are you well?\n")
        assert terminal.end() == 1
        said = "chatlab: the server, server.py, ended: exit status 1: it was too much\n"
        assert terminal.shown.endswith(said)
        assert terminal.is_as_before()


def test_without_a_keyboard_the_room_closes_at_once():
    done = chatlab("chat", "--port", "0", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("The room is closed.\n")


def test_a_server_that_is_not_started_is_one_line(tmp_path):
    server = tmp_path / "exercises.py"
    server.write_text(STUB)
    done = chatlab("chat", "--server", str(server), cwd=ROOT)
    assert done.stderr == (
        "chatlab: exercises.py ended with status 1 before it was ready: "
        "NotImplementedError: exercise 4.7 is not started\n"
    )
    assert done.returncode == 1


def test_a_server_that_ends_as_soon_as_it_listens_opens_no_room(tmp_path):
    server = tmp_path / "exercises.py"
    server.write_text(LISTENS + 'sys.exit("exercises.py: exercise 4.7 is not started")\n')
    done = chatlab("chat", "--server", str(server), cwd=ROOT)
    said = "chatlab: the server, exercises.py, ended: exit status 1: exercises.py: exercise 4.7 is not started\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


@pytest.mark.parametrize(
    ("redirection", "says"), [(">&-", "standard output is closed"), (">/dev/full", "cannot go on: no space left")]
)
def test_standard_output_that_takes_nothing_is_one_line(redirection, says):
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "chatlab", "chat", "--port", "0"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT_SECONDS * scale(),
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert done.stderr.startswith("chatlab: ") and says in done.stderr.lower()


def test_a_server_that_is_not_there_is_one_line():
    done = chatlab("chat", "--server", "labs/nowhere.py", cwd=ROOT)
    assert done.stderr.startswith("chatlab: labs/nowhere.py is not there: --server names a program, such as labs/")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = chatlab("chat", "--port", str(taken.getsockname()[1]), cwd=ROOT)
    assert "Address already in use: make chat PORT=N chooses another, PORT=0 lets the kernel choose" in done.stderr
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_a_room_that_is_not_open_is_one_line():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = chatlab("join", "--port", str(unused.getsockname()[1]), cwd=ROOT)
    assert done.stderr.startswith("chatlab: cannot connect to 127.0.0.1:")
    assert done.stderr.endswith(": Connection refused: make chat opens a room\n")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


@pytest.mark.skipif(shutil.which("nc") is None and shutil.which("ncat") is None, reason="no nc here")
def test_nc_joins_too():
    program = shutil.which("nc") or shutil.which("ncat")
    with Terminal("chat", "--port", "0") as terminal:
        port = port_of(terminal)
        guest = subprocess.Popen(
            [program, "127.0.0.1", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        try:
            wait_for_members(port, 2)
            guest.stdin.write(b"nc is here\n")
            terminal.see("nc is here\n")
            terminal.type("welcome\n")
            assert os.read(guest.stdout.fileno(), 100) == b"welcome\n"
            terminal.type(END_OF_INPUT)
            assert terminal.end() == 0
        finally:
            guest.kill()
            guest.communicate()

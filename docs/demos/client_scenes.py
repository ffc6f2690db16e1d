#!/usr/bin/env python3
"""Play the server's part for the poll client of lab 03, scene by scene, and print what each side sees.

    python docs/demos/client_scenes.py last-words
    python docs/demos/client_scenes.py last-words --pitfall last-words-lost

The client is a process of its own, the reference or one of the lab's pitfalls; the keyboard is a pipe of ours, and the
screen is a pipe too, or a terminal in the scene `stranger`. It ends by itself.
"""

import argparse
import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).resolve().parents[2] / "labs" / "03_poll_client"
PATIENCE_SECONDS = 10.0
SILENT = ("deaf-at-the-end", "busy-at-hang-up", "silent-while-sending")  # what one waits for from these never comes
SILENT_PATIENCE_SECONDS = 0.5
WATCH_SECONDS = 1.0
SMALL_BYTES = 4096  # the server's buffer
SETTLING_SECONDS = 0.1
MOST_LINES = 200
STRANGER = b"\x1b[2J\x1b[31mgive me your password\x1b[0m, \xe6\x97\xa5\xe6\x9c\xac\n"


def main() -> int:
    """Play the scene asked for and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    parser = argparse.ArgumentParser(
        description="Play the server's part for the poll client of lab 03, and print what each side sees.",
        epilog="; ".join(f"{name}: {scene.__doc__}" for name, scene in SCENES.items()),
    )
    parser.add_argument("scene", choices=SCENES, nargs="?", default="talk", help="which scene (default talk)")
    parser.add_argument("--pitfall", metavar="NAME", help="with this wrong client; labs/03_poll_client/pitfalls.py")
    options = parser.parse_args()
    with Stage(options.pitfall, on_a_terminal=options.scene == "stranger") as stage:
        SCENES[options.scene](stage)
    return 0


class Stage:
    """A server of ours and a client, with its keyboard and its screen in our hands."""

    def __init__(self, pitfall: str | None, on_a_terminal: bool):
        self.patience = SILENT_PATIENCE_SECONDS if pitfall in SILENT else PATIENCE_SECONDS
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)  # its connections inherit it
        keyboard, self.keyboard = os.pipe()
        self.screen, screen = pty.openpty() if on_a_terminal else os.pipe()
        program = [LAB / "poll_client.py"] if pitfall is None else [LAB / "pitfalls.py", pitfall]
        port = str(self.listener.getsockname()[1])
        self.client = subprocess.Popen(
            [sys.executable, *program, "127.0.0.1", port], stdin=keyboard, stdout=screen, stderr=subprocess.PIPE
        )
        os.close(keyboard)
        os.close(screen)

    def __enter__(self) -> "Stage":
        if self.listener not in select.select([self.listener, self.client.stderr], [], [])[0]:
            sys.exit(f"client_scenes.py: the client has not come: {self.client.communicate()[1].decode().strip()}")
        self.connection = self.listener.accept()[0]
        print("server: a client has connected")
        return self

    def __exit__(self, *exception) -> None:
        self.client.kill()
        self.client.wait()

    def type(self, data: bytes) -> None:
        print(f"keyboard: {data!r}")
        os.write(self.keyboard, data)

    def end_of_input(self) -> None:
        print("keyboard: end of input")
        os.close(self.keyboard)

    def say(self, data: bytes) -> None:
        print(f"server: says {data!r}")
        self.connection.sendall(data)

    def fill_the_keyboard(self) -> None:
        """Type until the client takes no more."""
        os.set_blocking(self.keyboard, False)
        while select.select([], [self.keyboard], [], SETTLING_SECONDS)[1]:
            with contextlib.suppress(BlockingIOError):
                os.write(self.keyboard, bytes(65536))
        print("keyboard: types until there is no more room, and goes on so")

    def count_printed(self, lines: list[bytes]) -> int:
        """Say line after line, until one is not printed; type on meanwhile. How many are printed?"""
        for number, line in enumerate(lines):
            self.connection.sendall(line)
            if not self.comes(self.screen):
                return number
            self.next_on_screen()
            with contextlib.suppress(BlockingIOError):
                os.write(self.keyboard, bytes(65536))
        return len(lines)

    def close(self) -> None:
        print("server: closes")
        self.connection.close()

    def hears(self) -> None:
        """Print what the server receives next."""
        heard = self.connection.recv(100) if self.comes(self.connection) else None
        words = {None: f"hears nothing for {self.patience:g} s", b"": "hears the end of the input (FIN)"}
        print("server:", words.get(heard, f"hears {heard!r}"))

    def prints(self) -> None:
        """Print what the client prints next."""
        printed = self.next_on_screen() if self.comes(self.screen) else None
        words = {None: f"prints nothing for {self.patience:g} s", b"": "prints nothing more"}
        print("client:", words.get(printed, f"prints {printed!r}"))

    def next_on_screen(self) -> bytes:
        with contextlib.suppress(OSError):  # EIO: the terminal's other side is closed
            return os.read(self.screen, 1000)
        return b""

    def works(self) -> None:
        """Print how much of the processor the client uses for a second."""
        before = processor_seconds(self.client.pid)
        select.select([self.screen], [], [], WATCH_SECONDS)
        used = processor_seconds(self.client.pid) - before
        print(f"client: {'works hard' if used > WATCH_SECONDS / 20 else 'sleeps'}; in a second it uses {used:.1f} s")

    def comes(self, descriptor) -> bool:
        """Whether something can be read of it, within the patience."""
        return bool(select.select([descriptor], [], [], self.patience)[0])

    def ends(self) -> None:
        """Print how the client ends, or that it does not."""
        try:
            status = self.client.wait(self.patience)
        except subprocess.TimeoutExpired:
            print(f"client: still runs after {self.patience:g} s")
            return
        said = self.client.stderr.read().decode().strip()
        print(f"client: ends with status {status}" + (f", saying {said!r}" if said else ""))


def processor_seconds(pid: int) -> float:
    """Processor time of a process: utime and stime of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def talk(stage: Stage) -> None:
    """a line each way, and an orderly end"""
    stage.type(b"hello\n")
    stage.hears()
    stage.say(b"hi\n")
    stage.prints()
    stage.end_of_input()
    stage.hears()
    stage.say(b"bye\n")
    stage.close()
    stage.prints()
    stage.ends()


def end_of_input(stage: Stage) -> None:
    """the keyboard has ended, and the server talks on"""
    stage.end_of_input()
    stage.hears()
    stage.works()
    stage.say(b"one more thing\n")
    stage.close()
    stage.prints()
    stage.ends()


def last_words(stage: Stage) -> None:
    """the server says something and closes"""
    os.kill(stage.client.pid, signal.SIGSTOP)  # so that data and FIN are reported together, for certain
    stage.say(b"last words\n")
    stage.close()
    os.kill(stage.client.pid, signal.SIGCONT)
    stage.prints()
    stage.ends()


def deaf_server(stage: Stage) -> None:
    """the server talks and does not read, while much is typed"""
    stage.fill_the_keyboard()
    lines = [b"I am not listening, part %d\n" % part for part in range(1, MOST_LINES + 1)]
    print(f"server: says up to {MOST_LINES} lines, such as {lines[0]!r}")
    heard = stage.count_printed(lines)
    print(f"client: prints {heard} of them" if heard == MOST_LINES else "client: stops printing")


def stranger(stage: Stage) -> None:
    """the screen is a terminal, and somebody sends what a terminal would obey"""
    stage.say(STRANGER)
    stage.prints()


SCENES = {
    "talk": talk,
    "end-of-input": end_of_input,
    "last-words": last_words,
    "deaf-server": deaf_server,
    "stranger": stranger,
}

if __name__ == "__main__":
    sys.exit(main())

"""What fork does, told by processes: the fork program of the course's notes, and five short experiments around it.

Every line printed is written by the process that it names. Each part can be run alone with --part.

Sources: fork(2), wait(2), waitid(2), setvbuf(3), setrlimit(2); Stevens, Advanced Programming in the UNIX Environment,
chapter 8; Kerrisk, The Linux Programming Interface, chapters 24 to 26.
"""

import argparse
import errno
import mmap
import os
import pty
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from fork_server import run_program

LAB = Path(__file__).resolve().parent
NOBODY = 65534  # an ordinary user: RLIMIT_NPROC does not bind root


def explain_fork_failure(error: OSError) -> str:
    """Say in words why fork failed: EAGAIN, ENOMEM or another errno; fork(2), section ERRORS."""
    reasons = {
        errno.EAGAIN: "a limit on processes is reached: the user's (ulimit -u), the container's (pids.max) or the "
        "system's (kernel.pid_max); it may work later, when others have ended and been reaped",
        errno.ENOMEM: "the kernel will not promise the memory that a copy of this process may need",
    }
    name = errno.errorcode.get(error.errno, str(error.errno))
    return f"fork failed with {name} ({os.strerror(error.errno)}): {reasons.get(error.errno, 'see fork(2)')}"


def own_children() -> dict[int, str]:
    """The children of this process, pid → state as in /proc/PID/stat: R runs, S sleeps, Z is a zombie."""
    children = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = entry.read_text().partition(" (")
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        state, parent = rest.rpartition(") ")[2].split()[:2]
        if int(parent) == os.getpid():
            children[int(pid)] = state
    return children


class ForkDemo:
    """The parts of the demonstration, with `count` children among the zombies and `races` races."""

    def __init__(self, count: int = 5, races: int = 50):
        self.count = count
        self.races = races

    # The steps that every part uses.

    def say(self, text: str) -> None:
        print(text)

    def fork(self) -> int:
        """Fork with an empty buffer: what it still holds would be copied into the child, and written by both."""
        sys.stdout.flush()
        return os.fork()

    def leave(self, status: int) -> None:
        """End a child: write what it has said itself, and run nothing of what the parent prepared for its own end."""
        sys.stdout.flush()
        os._exit(status)

    def reap(self) -> dict[int, int]:
        """Wait for every child. Returns pid → exit status, negative for the signal that ended it."""
        statuses = {}
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:  # ECHILD: none is left
                return statuses
            statuses[pid] = os.waitstatus_to_exitcode(status)

    # The parts.

    def one_fork(self) -> None:
        """fork: one process calls it, two return from it"""
        count = 0
        self.say(f"process {os.getpid()}: I am alone, and my count is {count}")
        pid = self.fork()
        if pid == 0:
            count += 1
            self.say(f"child  {os.getpid()}: fork returned 0 to me; my parent is {os.getppid()}; my count is {count}")
            self.leave(0)
        count += 1
        self.say(f"parent {os.getpid()}: fork returned {pid} to me, my child's pid; my count is {count}")
        self.reap()
        self.say("Both counted to 1. Nobody counted to 2: each process has its own copy of `count`.")

    def who_is_first(self) -> None:
        """order: who runs first after a fork?"""
        self.race("both run at once", lambda gate: None)
        self.race("the parent gives way (sched_yield)", lambda gate: os.sched_yield())
        self.race("the parent waits for the child's byte", lambda gate: os.read(gate, 1))
        self.say("Only the last row is sure: where the order matters, one process waits for the other.")

    def race(self, title: str, give_way: Callable[[int], object]) -> None:
        """Fork `races` times; parent and child each write a letter into one pipe, and the first one counts."""
        first = []
        for _ in range(self.races):
            letters, writer = os.pipe()
            gate, opener = os.pipe()
            if self.fork() == 0:
                os.write(writer, b"c")
                os.write(opener, b".")
                self.leave(0)
            give_way(gate)
            os.write(writer, b"p")
            first.append(os.read(letters, 1))
            self.reap()
            for descriptor in (letters, writer, gate, opener):
                os.close(descriptor)
        self.say(f"{title:38} parent first {first.count(b'p'):3} times, child first {first.count(b'c'):3} times")

    def buffered(self) -> None:
        """buffer: text that is still buffered when fork is called"""
        self.say("A program prints one line, forks, and both processes end. How often is the line there?")
        self.say(f"{'standard output':16} {'flush before fork':18} {'the child ends by':18} the line is there")
        for output in ("terminal", "file"):
            for flush, leave in ((False, "exit"), (True, "exit"), (False, "_exit")):
                lines = self.printed(output, flush, leave)
                self.say(f"{output:16} {'yes' if flush else 'no':18} {leave:18} {len(lines)} x")
        self.say(
            "On a terminal a line is written at its end. For a file it waits in a buffer, and fork copies the buffer."
        )

    def printed(self, output: str, flush: bool, leave: str) -> list[str]:
        """Run the part `print-then-fork` of this program with such a standard output. Returns the lines written."""
        options = ["--part", "print-then-fork", "--leave", leave, *(["--flush"] if flush else [])]
        command = [sys.executable, __file__, *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if output == "file":
            with tempfile.TemporaryFile("w+") as file:
                subprocess.run(command, stdout=file, env=environment, check=True)
                file.seek(0)
                return file.read().splitlines()
        terminal, end_for_program = pty.openpty()
        subprocess.run(command, stdout=end_for_program, env=environment, check=True)
        text = os.read(terminal, 1024)  # its few bytes fit: nothing else has to read meanwhile
        os.close(terminal)
        os.close(end_for_program)
        return text.decode().splitlines()

    def zombies(self) -> None:
        """zombies: a child that has ended waits for its parent to ask how"""
        for number in range(1, self.count + 1):
            if self.fork() == 0:
                self.say(f"child {os.getpid()}: I leave with status {number}")
                self.leave(number)
        for pid in own_children():
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # waits for the end, and leaves the zombie
        self.say(f"process {os.getpid()}: my children, before I wait: {describe(own_children())}")
        self.say(f"process {os.getpid()}: wait gave me pid → status: {self.reap()}")
        self.say(f"process {os.getpid()}: my children, after: {describe(own_children())}")

    def connection(self) -> None:
        """connection: two processes hold one connection, and the last close ends it"""
        command = [sys.executable, str(LAB / "fork_server.py"), "--port", "0", "--explain"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
            try:
                port = int(server.stdout.readline().rpartition(":")[2])
                self.talk(port, server.stderr)
            finally:
                server.terminate()

    def talk(self, port: int, log: Iterable[str]) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            self.tell_until("after the server's close", log)
            client.sendall(b"are you there?\n")
            self.say(f"client: the server has closed its copy, and still an answer comes: {client.recv(1024)!r}")
            client.shutdown(socket.SHUT_WR)
            self.say(f"client: I am done (SHUT_WR); what I receive now is {client.recv(1024)!r}, end of file")
            self.tell_until("reaped", log)

    def tell_until(self, word: str, log: Iterable[str]) -> None:
        for line in log:
            self.say(f"server: {line.rstrip()}")
            if word in line:
                return

    def failures(self) -> None:
        """failure: a fork that fails for real, in a child that has left itself no room"""
        for name, squeeze in (("EAGAIN", forbid_processes), ("ENOMEM", ask_for_too_much_memory)):
            self.say(f"{name}: {squeeze.__doc__}")
            if self.fork() == 0:
                self.fork_without_room(squeeze)
                self.leave(0)
            self.reap()

    def fork_without_room(self, squeeze: Callable[[], object]) -> None:
        try:
            held = squeeze()
        except OSError as error:
            self.say(f"  cannot be shown here: {error.strerror}")
            return
        try:
            pid = self.fork()
        except OSError as error:
            self.say(f"  {explain_fork_failure(error)}")
            return
        if pid == 0:
            self.leave(0)
        self.reap()
        self.say("  cannot be shown here: fork succeeds all the same")
        del held  # until here, so that the memory was still asked for at the fork

    parts = (one_fork, who_is_first, buffered, zombies, connection, failures)


def print_then_fork(flush: bool, leave: str) -> None:
    """The small program of the part `buffered`: print, perhaps flush, fork; the child ends by exit or by _exit."""
    print("printed before the fork", flush=flush)
    pid = os.fork()
    if pid == 0 and leave == "_exit":
        os._exit(0)
    if pid != 0:
        os.waitpid(pid, 0)


def describe(children: dict[int, str]) -> str:
    return ", ".join(f"{pid} is {state}" for pid, state in sorted(children.items())) or "none"


def forbid_processes() -> None:
    """the child allows its user 0 processes (RLIMIT_NPROC), then forks"""
    if os.geteuid() == 0:
        os.setresuid(NOBODY, NOBODY, NOBODY)  # the limit does not bind root
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def ask_for_too_much_memory() -> list[mmap.mmap]:
    """the child maps 1.5 times the memory of this machine, touches none of it, then forks"""
    # The kernel refuses one area larger than RAM and swap, proc_sys_vm(5). Each of the two passes; as neighbours they
    # merge into one area; and fork asks for a second one like it.
    text = Path("/proc/meminfo").read_text().split()
    kilobytes = sum(int(text[text.index(name) + 1]) for name in ("MemTotal:", "SwapTotal:"))
    size = kilobytes * 1024 * 3 // 4 // mmap.PAGESIZE * mmap.PAGESIZE
    return [mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(2)]


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse_arguments() -> argparse.Namespace:
    names = [name_of(part) for part in ForkDemo.parts]
    parser = Parser(description="What fork does, told by processes.")
    parser.add_argument("--part", choices=["all", *names, "print-then-fork"], default="all", help="run one part only")
    parser.add_argument("--count", type=int, default=5, help="children of the part zombies (default %(default)s)")
    parser.add_argument("--races", type=int, default=50, help="races in the part order (default %(default)s)")
    parser.add_argument("--flush", action="store_true", help="print-then-fork: flush before the fork")
    parser.add_argument("--leave", choices=["exit", "_exit"], default="exit", help="print-then-fork: the child's end")
    options = parser.parse_args()
    for name in ("count", "races"):
        if not 1 <= getattr(options, name) <= 1000:
            parser.error(f"--{name} is {getattr(options, name)}, but it must be between 1 and 1000")
    return options


def name_of(part: Callable) -> str:
    return part.__doc__.partition(":")[0]


def main() -> None:
    options = parse_arguments()
    if options.part == "print-then-fork":
        print_then_fork(options.flush, options.leave)
        return
    demo = ForkDemo(options.count, options.races)
    for part in ForkDemo.parts:
        if options.part in ("all", name_of(part)):
            demo.say(f"\n== {part.__doc__} ==")
            part(demo)


if __name__ == "__main__":
    run_program(main)

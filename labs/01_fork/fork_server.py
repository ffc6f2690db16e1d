"""A forking echo server: accept, fork, and one child process for each connection.

The parent only accepts and forks; the child talks. After the fork both hold a descriptor of the same connection, so
each closes what is not its own: the child the listener, the parent the connection. The kernel ends a connection when
its last descriptor is closed, so the parent's close ends nothing: `--explain` logs the count around each close.

Sources: Stevens, UNIX Network Programming, 4.8; Kerrisk, The Linux Programming Interface, 24 to 26 and 60.3;
fork(2), pidfd_open(2), proc_pid_fd(5).
"""

import argparse
import errno
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

RECEIVE_BYTES = 65536
WAIT_MILLISECONDS = 1000
OTHER_DESCRIPTORS = 16  # standard streams, the listener, a new connection, and some to spare
ENDING = (signal.SIGINT, signal.SIGTERM)
NO_FIN_SENT = ("01", "08")  # ESTABLISHED, CLOSE_WAIT: the `st` column of /proc/net/tcp, proc_pid_net(5)


class Stop(Exception):
    """SIGINT or SIGTERM asked the server to end."""


def log(text: str) -> None:
    """Write one line to standard error, in one write(2): lines of several processes do not mix."""
    os.write(2, f"{text}\n".encode())


class ForkServer:
    """The server, step by step. `listener` is a listening TCP socket; at most `max_clients` children live at a time."""

    def __init__(self, listener: socket.socket, max_clients: int, explain: bool = False):
        self.listener = listener
        self.max_clients = max_clients
        self.explain = explain
        self.children: dict[int, int] = {}  # pidfd → pid
        self.poller = select.poll()

    def serve(self) -> None:
        """Serve until SIGINT or SIGTERM; then end every child, and reap it."""
        for number in ENDING:
            signal.signal(number, self.stop)
        self.listener.setblocking(False)  # the client may be gone again between poll and accept
        self.poller.register(self.listener, select.POLLIN)
        try:
            while True:
                for descriptor in self.wait():
                    self.handle(descriptor)
        except Stop as stop:
            log(f"{stop}: ending {len(self.children)} children")
            self.end_children()

    def stop(self, number: int, frame: object) -> None:
        """Turn the first signal into Stop; a second one must not interrupt the clean-up."""
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise Stop(signal.Signals(number).name)

    def wait(self) -> list[int]:
        """Sleep until some descriptor is ready.

        The ending signals are blocked everywhere but here, so that none falls between fork and the line that records
        the child. One that falls between the unblocking and poll's sleep is seen when poll returns, a second later at
        most; lab 06 closes that gap.
        """
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        ready = [descriptor for descriptor, _ in self.poller.poll(WAIT_MILLISECONDS)]
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        return ready

    def handle(self, descriptor: int) -> None:
        if descriptor == self.listener.fileno():
            self.accept()
        else:
            self.reap(descriptor)

    def accept(self) -> None:
        """Take one connection and give it to a child, or turn it away."""
        try:
            connection, peer = self.listener.accept()
        except OSError as error:  # the client has gone again: EAGAIN or ECONNABORTED
            log(f"accept: {error.strerror}")
            return
        if len(self.children) >= self.max_clients:
            self.turn_away(connection, f"this server is full ({self.max_clients} clients), try again later")
            return
        self.references = References(connection, peer)
        self.show("before the fork", server=os.getpid())
        try:
            pid = os.fork()
        except OSError as error:
            log(f"fork: {error.strerror}")
            self.turn_away(connection, "this server cannot start a process for you now, try again later")
            return
        if pid == 0:
            self.run_child(connection)
        self.watch(pid)
        log(f"{self.references.client}: child {pid} serves it")
        self.show("after the fork", server=os.getpid(), child=pid)
        self.close_in_parent(connection)
        self.show("after the server's close", server=os.getpid(), child=pid)

    # The parent's side.

    def close_in_parent(self, connection: socket.socket) -> None:
        """Close the parent's copy. The count falls from 2 to 1, so the kernel sends the client nothing."""
        connection.close()

    def watch(self, pid: int) -> None:
        """Let poll tell of the child's end: its pidfd becomes readable then, and no two children share one."""
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = pid
        self.poller.register(pidfd, select.POLLIN)

    def reap(self, pidfd: int) -> None:
        """Take the status of a child that has ended (or is about to): until then it stays a zombie."""
        pid = self.children.pop(pidfd)
        self.poller.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        log(f"child {pid} reaped, status {os.waitstatus_to_exitcode(status)}")

    def end_children(self) -> None:
        for pidfd in list(self.children):
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)  # a stopped process dies of SIGTERM only once it continues
            self.reap(pidfd)

    def turn_away(self, connection: socket.socket, reason: str) -> None:
        """Send one notice and end of file.

        What the client has sent is read first: closing over unread bytes would send RST, not FIN.
        """
        connection.setblocking(False)
        try:
            connection.send(f"* {reason}\n".encode())
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(RECEIVE_BYTES):
                pass
        except OSError:  # EAGAIN: all is read; ECONNRESET, EPIPE: the client has gone
            pass
        connection.close()

    # The child's side.

    def run_child(self, connection: socket.socket) -> NoReturn:
        """The child's whole life. It ends by _exit, whatever happens: it must never return into the parent's loop."""
        status = 1
        try:
            self.reset_signals()
            self.close_in_child()
            self.echo(connection)
            self.show("before the child's close", server=os.getppid(), child=os.getpid())
            connection.close()  # the exit would close it too: the close stands here to be seen
            self.show("after the child's close", server=os.getppid(), child=os.getpid())
            status = 0
        except OSError as error:  # the client reset the connection: ECONNRESET or EPIPE
            log(f"{self.references.client}: {error.strerror}")
        finally:
            os._exit(status)  # no buffer of the parent's is written again, no exit handler of the parent's runs

    def reset_signals(self) -> None:
        """A child inherits the parent's handlers and mask; this one has nothing to clean up, so it just ends."""
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def close_in_child(self) -> None:
        """Close what is the parent's: the listener and its pidfds."""
        self.listener.close()
        for pidfd in self.children:
            os.close(pidfd)

    def echo(self, connection: socket.socket) -> None:
        """Send everything back, until the client's end of file."""
        while data := connection.recv(RECEIVE_BYTES):
            connection.sendall(data)

    def show(self, moment: str, **pids: int) -> None:
        if self.explain:
            log(self.references.describe(moment, pids))


class References:
    """Who refers to one connection: what --explain shows. `client` is the client's address as text."""

    def __init__(self, connection: socket.socket, peer: tuple[str, int]):
        self.client = f"{peer[0]}:{peer[1]}"
        self.target = f"socket:[{os.fstat(connection.fileno()).st_ino}]"
        self.ports = tuple(f":{port:04X}" for port in (connection.getsockname()[1], peer[1]))

    def describe(self, moment: str, pids: dict[str, int]) -> str:
        """One line: each process's descriptors of the connection, their count, and what the client sees."""
        held = [(role, pid, fd) for role, pid in pids.items() for fd in self.descriptors(pid)]
        holders = ", ".join(f"{role} {pid} holds fd {fd}" for role, pid, fd in held) or "nobody holds it"
        sees = "end of file" if self.fin_sent() else "no end of file"
        return f"{self.client} {moment}: {holders}; count {len(held)}, the client sees {sees}"

    def descriptors(self, pid: int) -> list[str]:
        """The descriptors of a process that refer to the connection, from /proc/PID/fd."""
        try:
            return [fd for fd in os.listdir(f"/proc/{pid}/fd") if self.refers(f"/proc/{pid}/fd/{fd}")]
        except OSError:  # the process has ended
            return []

    def refers(self, path: str) -> bool:
        try:
            return os.readlink(path) == self.target
        except FileNotFoundError:  # closed since it was listed
            return False

    def fin_sent(self) -> bool:
        """Has the kernel begun to end the connection from our side? It is gone from /proc/net/tcp in the end."""
        with open("/proc/net/tcp") as table:
            rows = [row.split() for row in table]
        ends = [(row[1][-5:], row[2][-5:], row[3]) for row in rows]
        return not any((local, remote) == self.ports and state in NO_FIN_SENT for local, remote, state in ends)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description="A forking echo server: one child process for each connection.")
    parser.add_argument("--host", default="127.0.0.1", help="IPv4 address or name to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=9999, help="TCP port; 0: the kernel chooses (default %(default)s)")
    parser.add_argument("--max-clients", type=int, default=100, help="children at a time (default %(default)s)")
    parser.add_argument("--explain", action="store_true", help="log each connection's reference count at every step")
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535:
        parser.error(f"--port is {options.port}, but a port is between 0 and 65535")
    if options.max_clients < 1:
        parser.error(f"--max-clients is {options.max_clients}, but at least 1 is needed")
    return options


def allow_descriptors(number: int) -> None:
    """Raise the soft limit of open descriptors to `number`, where it is lower: the parent keeps a pidfd for each child.

    Raises ValueError when the hard limit is lower too; getrlimit(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if number > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def open_listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart may find old connections in TIME_WAIT
    listener.bind((host, port))
    listener.listen()
    return listener


def main(server_class: type[ForkServer] = ForkServer) -> None:
    options = parse_arguments()
    try:
        allow_descriptors(options.max_clients + OTHER_DESCRIPTORS)
        listener = open_listener(options.host, options.port)
    except ValueError:
        sys.exit(f"fork_server: --max-clients {options.max_clients} needs more descriptors than this process may have")
    except OSError as error:
        sys.exit(f"fork_server: cannot listen on {options.host}:{options.port}: {error.strerror}")
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    server_class(listener, options.max_clients, options.explain).serve()


def run_program(main: Callable[[], object]) -> None:
    """Run a program, and end it with status 1 when standard output takes nothing more: write(2), section ERRORS.

    A reader that has gone (EPIPE) needs no words. Anything else, such as a full disk, is told in one line, by the
    program alone: a child that comes out of `main` by the same error leaves in silence.
    """
    program = os.getpid()
    if sys.stdout is None:
        sys.exit(f"{os.path.basename(sys.argv[0])}: standard output is closed")
    try:
        try:
            main()
        finally:
            sys.stdout.flush()  # the interpreter would do it after the last `except`
    except OSError as error:
        if error.errno != errno.EPIPE and os.getpid() == program:
            log(f"{os.path.basename(sys.argv[0])}: cannot go on: {error.strerror}")
        os._exit(1)  # an ordinary exit would flush again, and fail again


if __name__ == "__main__":
    run_program(main)

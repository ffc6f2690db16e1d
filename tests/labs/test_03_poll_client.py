"""Lab 03 as a black box: the client between a keyboard and a server that are ours, and each pitfall beside it."""

import contextlib
import errno
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from chatlab import procfs
from chatlab.launch import launch, run
from chatlab.launch.program import clean_environment, scale
from chatlab.trace import Trace, strace
from tests.kit.waiting import until
from tests.labs import output

ROOT = Path(__file__).resolve().parents[2]
CLIENT = "labs/03_poll_client/poll_client.py"
PITFALLS = "labs/03_poll_client/pitfalls.py"
NAME = "poll_client.py"
LIMIT_SECONDS = 20.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds
EVERY_BYTE = bytes(range(256))
BIG_BYTES = 12_000_000
SMALL_BUFFER = 4096
LATE_SECONDS = 0.1
RESTARTED = (
    "system call 219",
    "system call 128",
)  # x86-64, arm64; restart_syscall(2): a poll that was stopped and goes on
BUSY_TICKS = 30  # of a hundredth of a second of processor time

either_way = pytest.mark.parametrize("options", [(), ("--no-splice",)], ids=["splice", "no-splice"])
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
needs_socat = pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")


class Server:
    """A listening socket of ours, and the connections that it has accepted."""

    def __init__(self, receive_bytes: int | None = None):
        self.listener = socket.socket()
        if receive_bytes:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)  # connections inherit it
        self.listener.settimeout(LIMIT_SECONDS * scale())
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []

    def accept(self) -> socket.socket:
        connection = self.listener.accept()[0]
        connection.settimeout(LIMIT_SECONDS * scale())
        self.connections.append(connection)
        return connection

    def close(self) -> None:
        for each in (self.listener, *self.connections):
            each.close()


class Client:
    """A program with its three streams in our hands. stdin: "pipe", or a descriptor; stdout: None is a pipe."""

    def __init__(self, *command: str, stdin="pipe", stdout=None):
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=clean_environment({}), start_new_session=True, bufsize=0,
            stdin=subprocess.PIPE if stdin == "pipe" else stdin,
            stdout=subprocess.PIPE if stdout is None else stdout, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.pid = self.process.pid
        self.seen = b""  # of standard output

    def type(self, data: bytes) -> None:
        self.process.stdin.write(data)

    def end_of_input(self) -> None:
        self.process.stdin.close()

    def prints(self, expected: bytes) -> None:
        """Wait until standard output, a pipe, has brought this much more, and hold it against what is expected."""
        self.seen += read_some(self.process.stdout.fileno(), len(expected) - len(self.seen))
        assert self.seen == expected
        self.seen = b""

    def ended(self) -> tuple[int, bytes, str]:
        """Its exit status, the rest of its standard output, and its standard error, once it has ended by itself."""
        status = self.process.wait(LIMIT_SECONDS * scale())
        said = self.process.stdout.read() if self.process.stdout else b""
        return status, self.seen + said, self.process.stderr.read().decode()

    def sleeps_in(self, call: str) -> bool:
        name = (procfs.waits_in(self.pid) or ("nothing",))[0]
        return name == call or (call == "poll" and name in RESTARTED)

    def wait_for_sleep(self, call: str = "poll") -> None:
        until(lambda: self.sleeps_in(call), f"process {self.pid} to sleep in {call}")

    def stop_in_poll(self) -> None:
        """Stop it while it sleeps in poll: what happens until SIGCONT is reported to it together."""
        while True:
            self.wait_for_sleep()
            os.kill(self.pid, signal.SIGSTOP)
            until(lambda: procfs.stat(self.pid).state == "T", "the client to be stopped")
            if self.sleeps_in("poll"):
                return
            os.kill(self.pid, signal.SIGCONT)  # it has moved on meanwhile

    def wait_until_busy(self) -> None:
        """Until it has used a third of a second of processor time from now on: who sleeps in poll never does."""
        begin = ticks(self.pid)
        until(lambda: ticks(self.pid) - begin >= BUSY_TICKS, "the processor to be busy")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in filter(None, (self.process.stdin, self.process.stdout, self.process.stderr)):
            stream.close()


def ticks(pid: int) -> int:
    """Processor time of a process in clock ticks: fields 14 and 15 of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def read_some(descriptor: int, count: int) -> bytes:
    """So many bytes of a descriptor, fewer at its end of file or when they do not come in time."""
    data = b""
    while len(data) < count and select.select([descriptor], [], [], LIMIT_SECONDS * scale())[0]:
        piece = read_or_end(descriptor, count - len(data))
        if not piece:
            break
        data += piece
    return data


def read_or_end(descriptor: int, count: int) -> bytes:
    try:
        return os.read(descriptor, count)
    except OSError as error:  # a pty whose other side is closed: EIO
        assert error.errno == errno.EIO
        return b""


def receive(connection: socket.socket, count: int) -> bytes:
    """So many bytes of a connection, fewer at its end."""
    return b"".join(iter_receive(connection, count))


def iter_receive(connection: socket.socket, count: int, step: int = 65536):
    while count > 0 and (data := connection.recv(min(step, count))):
        yield data
        count -= len(data)


def to_the_end(connection: socket.socket, step: int = 65536) -> bytes:
    return b"".join(iter(lambda: connection.recv(step), b""))


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    connection.close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture
def small_server():
    """A server whose connections have a small receive buffer: what it does not read stays with the client."""
    made = Server(SMALL_BUFFER)
    yield made
    made.close()


@pytest.fixture
def start(server):
    """start(*options, stdin, stdout, to, program, prefix): a client of `server`, ended after the test."""
    started = []

    def start(*options, stdin="pipe", stdout=None, to=None, program=(CLIENT,), prefix=()):
        port = str((to or server).port)
        command = (*prefix, sys.executable, program[0], *program[1:], "127.0.0.1", port, *options)
        started.append(Client(*command, stdin=stdin, stdout=stdout))
        return started[-1]

    yield start
    for client in started:
        client.end()


@pytest.fixture
def pitfall(start):
    return lambda name, *options, **how: start(*options, program=(PITFALLS, name), **how)


@pytest.fixture
def terminal():
    """The two sides of a pseudo-terminal: ours, and the one that a program gets; nothing typed is echoed."""
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    yield ours, theirs
    for descriptor in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(descriptor)


@pytest.fixture
def traced(start, tmp_path):
    """traced(*options, extra, …): a client under strace, and a function that reads its trace."""

    def traced(*options, extra=(), **how):
        if shutil.which("strace") is None:
            pytest.skip("not checked: system calls are seen exactly only with strace")
        client = start(*options, prefix=strace.command(tmp_path / "strace", extra=extra), **how)
        return client, lambda: Trace.read(tmp_path / "strace")

    return traced


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A file of 12 MB of random bytes."""
    path = tmp_path_factory.mktemp("big") / "big"
    path.write_bytes(os.urandom(BIG_BYTES))
    return path


def nothing() -> int:
    return os.open(os.devnull, os.O_RDONLY)


def asked_of_poll(trace: Trace) -> list[tuple[int, dict[str, str]]]:
    """What each poll of the conversation was asked for: {"keyboard": "POLLIN", "server": …}. The first one connects."""
    polls = [re.findall(r"\{fd=(\d+)[^{}]*?, events=([A-Z|]+)\}", call.text) for call in trace.named("poll")]
    connecting, *talking = [asked for asked in polls if asked]
    assert [events for _, events in connecting] == ["POLLOUT"]
    return [{"keyboard" if fd == "0" else "server": events for fd, events in asked} for asked in talking]


# A conversation.


@either_way
def test_every_byte_goes_both_ways_untouched(server, start, options):
    client = start(*options)
    connection = server.accept()
    client.type(EVERY_BYTE + b"\n")
    assert receive(connection, 257) == EVERY_BYTE + b"\n"
    connection.sendall(EVERY_BYTE * 2)
    client.prints(EVERY_BYTE * 2)
    client.type(b"no newline")
    client.end_of_input()
    assert to_the_end(connection) == b"no newline"
    connection.sendall(b"bye")
    connection.close()
    assert client.ended() == (0, b"bye", "")


@either_way
def test_a_terminal_on_both_sides_moves_lines_as_they_are_typed(server, start, terminal, options):
    ours, theirs = terminal
    start(*options, stdin=theirs, stdout=theirs)
    connection = server.accept()
    for line in (b"one\n", b"two\n", "zwei, δύο, 二\n".encode()):
        os.write(ours, line)
        assert receive(connection, len(line)) == line
        connection.sendall(line)
        expected = line.replace(b"\n", b"\r\n")  # ONLCR: termios(3)
        assert read_some(ours, len(expected)) == expected


def test_a_typed_line_leaves_by_splice_and_without_splice_f_more(server, traced, terminal):
    ours, theirs = terminal
    client, trace = traced(stdin=theirs)
    connection = server.accept()
    os.write(ours, b"hello\n")
    assert receive(connection, 6) == b"hello\n"  # nothing else was typed: the line did not wait for more
    os.write(ours, b"\x04")
    assert connection.recv(1) == b""
    connection.close()
    assert client.ended() == (0, b"", "")
    splices = trace().named("splice")
    assert [call.result for call in splices] == [6, 6, 0]
    assert {call.args[-1] for call in splices} == {"SPLICE_F_NONBLOCK"}
    assert "TCP_NODELAY" in str([call.args for call in trace().named("setsockopt")])


def test_poll_is_asked_for_pollout_only_while_something_is_left(small_server, traced, big):
    with big.open("rb") as source:
        client, trace = traced(stdin=source, to=small_server)
    connection = small_server.accept()
    client.wait_for_sleep()  # the connection is full: nobody reads
    assert to_the_end(connection) == big.read_bytes()
    connection.close()
    assert client.ended() == (0, b"", "")
    kinds = [tuple(sorted(asked.items())) for asked in asked_of_poll(trace())]
    nothing_left = (("keyboard", "POLLIN"), ("server", "POLLIN|POLLRDHUP"))
    something_left = (("server", "POLLIN|POLLOUT|POLLRDHUP"),)
    input_ended = (("server", "POLLIN|POLLRDHUP"),)
    assert kinds[0] == nothing_left
    assert something_left in kinds
    assert kinds[-1] == input_ended
    assert set(kinds) == {nothing_left, something_left, input_ended}


def test_a_client_of_the_echo_server_of_lab_01_and_of_socat(start):
    with launch("labs/01_fork/fork_server.py", "--port", "0") as echo:
        client = start(to=echo)
        client.type(b"hello\n")
        client.prints(b"hello\n")
        client.end_of_input()
        assert client.ended() == (0, b"", "")


@needs_socat
def test_socat_is_a_server_too(start):
    address = "TCP-LISTEN:0,bind=127.0.0.1"
    with launch(shutil.which("socat"), "-d", "-d", address, "EXEC:tr a-z A-Z", ready=False) as peer:
        peer.wait_for_text("listening on", where="log")
        port = re.search(r"listening on .*:(\d+)", peer.log)[1]
        with launch(CLIENT, "127.0.0.1", port, ready=False, stdin=b"hello\n") as client:
            assert client.wait() == 0
            assert (client.output, client.log) == ("HELLO\n", "")


# Much at once, and peers that are slow.


@either_way
def test_a_big_file_reaches_a_slow_server_byte_for_byte(small_server, start, big, options):
    with big.open("rb") as source:
        client = start(*options, stdin=source, to=small_server)
    connection = small_server.accept()
    client.wait_for_sleep()  # everything is full before the server begins to read
    assert to_the_end(connection, step=3000) == big.read_bytes()
    connection.close()
    assert client.ended() == (0, b"", "")


@either_way
def test_a_big_file_through_a_pipe_too(small_server, start, big, options):
    with subprocess.Popen(["cat", big], stdout=subprocess.PIPE) as cat:
        client = start(*options, stdin=cat.stdout, to=small_server)
        connection = small_server.accept()
        assert to_the_end(connection, step=30000) == big.read_bytes()
        connection.close()
        assert client.ended() == (0, b"", "")


@either_way
def test_a_server_that_does_not_read_is_printed_all_the_same(small_server, start, big, options):
    with big.open("rb") as source:
        client = start(*options, stdin=source, to=small_server)
    connection = small_server.accept()
    for number in range(200):
        line = f"line {number} of one who does not listen\n".encode()
        connection.sendall(line)
        client.prints(line)
    client.wait_for_sleep()
    connection.sendall(b"now I do\n")
    client.prints(b"now I do\n")
    assert to_the_end(connection) == big.read_bytes()
    connection.close()
    assert client.ended() == (0, b"", "")


def test_both_directions_are_full_at_once_and_nothing_is_lost(small_server, start, big):
    with big.open("rb") as source:
        client = start(stdin=source, to=small_server)
    connection = small_server.accept()
    data = big.read_bytes()
    got, printed = exchange(connection, client.process.stdout.fileno(), data)
    assert got == data
    assert printed == data
    connection.close()
    assert client.ended() == (0, b"", "")


def exchange(connection: socket.socket, screen: int, data: bytes) -> tuple[bytes, bytes]:
    """Send data and half-close, receive to the end, and read as much of the client's screen: whatever is ready."""
    left, got, printed = memoryview(data), bytearray(), bytearray()
    open_for_reading = True
    while left or open_for_reading or len(printed) < len(data):
        readers = [screen] if len(printed) < len(data) else []
        readers += [connection] if open_for_reading else []
        readable, writable, _ = select.select(readers, [connection] if left else [], [], LIMIT_SECONDS * scale())
        assert readable or writable, f"nothing moves: {len(left)} to send, {len(got)} received, {len(printed)} printed"
        if writable:
            left = left[connection.send(left[:65536], socket.MSG_DONTWAIT) :]
        if screen in readable:
            printed += os.read(screen, 65536)
        if connection in readable:
            data_now = connection.recv(65536)
            got += data_now
            open_for_reading = bool(data_now)
    return bytes(got), bytes(printed)


def test_a_screen_that_another_program_made_non_blocking_loses_nothing(server, start, big):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    client = start(stdout=writing, stdin=nothing())
    os.close(writing)
    connection = server.accept()
    sender = threading.Thread(target=lambda: (connection.sendall(big.read_bytes()), connection.close()))
    sender.start()
    client.wait_for_sleep()  # it waits for room on the screen, or for what comes
    with os.fdopen(reading, "rb") as screen:
        assert screen.read() == big.read_bytes()
    sender.join()
    assert client.ended() == (0, b"", "")


# The end of the input.


@either_way
@pytest.mark.parametrize("end", ["pipe", "typed and a pipe", "file", "/dev/null", "^D"])
def test_the_end_of_input_is_a_half_close_and_the_printing_goes_on(server, start, tmp_path, terminal, options, end):
    (tmp_path / "file").write_bytes(b"typed\n")
    stdin = {"file": lambda: os.open(tmp_path / "file", os.O_RDONLY), "/dev/null": nothing, "^D": lambda: terminal[1]}
    client = start(*options, stdin=stdin.get(end, lambda: "pipe")())
    connection = server.accept()
    if end == "pipe":
        client.wait_for_sleep()
        client.end_of_input()  # POLLHUP alone
    elif end == "typed and a pipe":
        client.type(b"typed\n")
        client.end_of_input()
    elif end == "^D":
        os.write(terminal[0], b"typed\n\x04")
    assert to_the_end(connection) == (b"" if end in ("pipe", "/dev/null") else b"typed\n")
    for line in (b"still\n", b"talking\n"):
        connection.sendall(line)
        client.prints(line)
    client.wait_for_sleep()  # it does not spin over an input that has ended
    connection.sendall(b"bye\n")
    connection.close()
    assert client.ended() == (0, b"bye\n", "")


@either_way
def test_a_client_that_nobody_speaks_to_sleeps(server, start, options):
    client = start(*options)
    server.accept()
    client.wait_for_sleep()
    client.type(b"x")
    assert server.connections[0].recv(10) == b"x"
    client.wait_for_sleep()


def test_an_input_that_is_closed_has_ended(server, start):
    client = start(prefix=("sh", "-c", 'exec "$@" <&-', "sh"))
    connection = server.accept()
    assert connection.recv(1) == b""
    connection.sendall(b"bye\n")
    connection.close()
    assert client.ended() == (0, b"bye\n", "")


def test_an_input_that_cannot_be_read_is_one_line(server, start):
    stdin = os.open(os.devnull, os.O_WRONLY)
    client = start(stdin=stdin)
    assert client.ended() == (1, b"", f"{NAME}: cannot read standard input: Bad file descriptor\n")


# The end of the server.


@either_way
@pytest.mark.parametrize("ended", [False, True], ids=["input open", "input ended"])
def test_last_words_before_a_close_are_printed(server, start, options, ended):
    client = start(*options, stdin=nothing() if ended else "pipe")
    connection = server.accept()
    connection.sendall(b"last words")
    connection.close()
    said = "" if ended else f"{NAME}: the server closed the connection\n"
    assert client.ended() == (0, b"last words", said)


def test_data_and_fin_in_one_turn_are_both_heard(server, start):
    client = start()
    last_words_at_once(client, server.accept())
    assert client.ended() == (0, b"last words", f"{NAME}: the server closed the connection\n")


def last_words_at_once(client, connection):
    """Stop the client while data and FIN arrive, so that its next poll reports them together."""
    client.stop_in_poll()
    connection.sendall(b"last words")
    connection.close()
    os.kill(client.pid, signal.SIGCONT)


@either_way
def test_what_came_before_a_reset_is_printed(server, start, options):
    client = start(*options)
    connection = server.accept()
    client.wait_for_sleep()
    connection.sendall(b"earlier\n")
    reset(connection)
    assert client.ended() == (1, b"earlier\n", f"{NAME}: connection lost: Connection reset by peer\n")


@either_way
def test_a_reset_while_much_is_on_its_way_is_one_line(small_server, start, big, options):
    with big.open("rb") as source:
        client = start(*options, stdin=source, to=small_server)
    connection = small_server.accept()
    client.wait_for_sleep()
    connection.sendall(b"no more!\n")
    reset(connection)
    status, said, log = client.ended()
    assert (status, said) == (1, b"no more!\n")
    assert re.fullmatch(rf"{NAME}: connection lost: (Connection reset by peer|Broken pipe)\n", log)


@needs_strace
@pytest.mark.parametrize("half_closed", [False, True])
def test_a_reset_before_so_error_was_asked_for_is_no_failed_connect(server, start, tmp_path, half_closed):
    waits = ("-e", "trace=poll", "-e", "inject=poll:delay_enter=300000:when=1", "-o", str(tmp_path / "strace"))
    client = start(prefix=("strace", "-D", *waits))
    connection = server.accept()
    connection.sendall(b"earlier\n")
    if half_closed:
        connection.shutdown(socket.SHUT_WR)
    reset(connection)
    status, said, log = client.ended()
    assert (status, said) == (1, b"earlier\n")
    assert re.fullmatch(rf"{NAME}: connection lost: (Connection reset by peer|Broken pipe)\n", log)


def test_input_that_a_server_has_not_taken_is_a_failure(small_server, start, big):
    with big.open("rb") as source:
        client = start(stdin=source, to=small_server)
    connection = small_server.accept()
    client.stop_in_poll()  # over a file it sleeps only while something is left
    connection.shutdown(socket.SHUT_WR)
    os.kill(client.pid, signal.SIGCONT)
    log = f"{NAME}: the server closed the connection before all input was sent\n"
    assert client.ended() == (1, b"", log)


# Connecting.


def test_nobody_listens(start, server):
    server.listener.close()
    client = start()
    assert client.ended() == (1, b"", f"{NAME}: cannot connect to 127.0.0.1:{server.port}: Connection refused\n")


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("no-such-host.invalid", "cannot find 'no-such-host.invalid': "),
        ("", "cannot find '': "),
        ("two..dots", "'two..dots' is not a host's name"),
        ("a" * 70, "is not a host's name"),
    ],
)
def test_an_unknown_host_is_one_line(host, says):
    done = run(CLIENT, host, "9999")
    assert (done.returncode, done.output, done.log.count("\n")) == (1, "", 1)
    assert says in done.log


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["127.0.0.1", "0"], "PORT is 0, but a port is between 1 and 65535"),
        (["127.0.0.1", "65536"], "PORT is 65536, but a port is between 1 and 65535"),
        (["127.0.0.1", "http"], "argument PORT: invalid int value: 'http'"),
        (["127.0.0.1"], "the following arguments are required: PORT"),
        (["127.0.0.1", "1", "--connect-timeout", "0"], "--connect-timeout is 0, but"),
        (["127.0.0.1", "1", "--connect-timeout", "nan"], "--connect-timeout is nan, but"),
        (["127.0.0.1", "1", "--connect-timeout", "1e300"], "--connect-timeout is 1e+300, but"),
        (["127.0.0.1", "1", "--connect-timeout", "soon"], "argument --connect-timeout: invalid float value: 'soon'"),
    ],
)
def test_a_bad_argument_is_one_line(arguments, says):
    done = run(CLIENT, *arguments)
    assert (done.returncode, done.output, done.log.count("\n")) == (2, "", 1)
    assert done.log.startswith(f"{NAME}: {says}")


def test_help_names_every_option():
    done = run(CLIENT, "-h")
    assert done.returncode == 0
    assert {"HOST", "PORT", "--connect-timeout", "--no-splice"} <= set(re.findall(r"[-A-Za-z]+", done.output))


def test_connect_does_not_wait_longer_than_asked(start):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        fill_the_backlog(stack, listener)
        done = run(CLIENT, "127.0.0.1", listener.getsockname()[1], "--connect-timeout", "0.2", trace=True)
        assert (done.returncode, done.output) == (1, "")
        assert re.fullmatch(rf"{NAME}: cannot connect to 127.0.0.1:\d+: Connection timed out\n", done.log)
        if done.trace.exact:
            assert [call.error for call in done.trace.named("connect")] == ["EINPROGRESS"]
            assert [call.args[-1] for call in done.trace.named("poll")][-1] == "200"


def fill_the_backlog(stack, listener):
    """Connect until the kernel answers no more SYN, since nobody accepts: listen(2)."""
    for _ in range(10):
        connection = stack.enter_context(socket.socket())
        connection.setblocking(False)
        connection.connect_ex(listener.getsockname())
        if not select.select([], [connection], [], 0.2)[1]:
            return
    raise AssertionError("the backlog is never full")


@needs_bwrap
@pytest.mark.parametrize("options", [(), ("-no-one",)])
def test_every_address_of_a_host_is_tried_in_turn(server, start, tmp_path, options):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.2 twofold\n127.0.0.1 twofold\n")
    sandbox = ("bwrap", "--dev-bind", "/", "/", "--bind", str(hosts), "/etc/hosts", "--")
    if subprocess.run([*sandbox, "true"], capture_output=True, check=False).returncode:
        pytest.skip("not checked: bubblewrap may not make a namespace here")
    if options:
        server.listener.close()
    client = Client(*sandbox, sys.executable, CLIENT, "twofold", str(server.port))
    try:
        if options:
            log = f"{NAME}: cannot connect to twofold:{server.port}: Connection refused\n"
            assert client.ended() == (1, b"", log)
        else:
            server.accept().sendall(b"found\n")
            client.prints(b"found\n")
    finally:
        client.end()


# Standard output that is gone or full, and ^C.


@pytest.fixture
def talkative(server):
    """A server of ours that says a line to each client and closes after the client has."""

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection = server.accept()
                with contextlib.suppress(OSError):
                    connection.sendall(b"hello\n" * 100)
                    to_the_end(connection)
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield server
    server.listener.shutdown(socket.SHUT_RDWR)  # accept fails: EINVAL
    thread.join()


def test_output_that_is_full_is_one_line(talkative):
    assert output.onto_a_full_disk(CLIENT, "127.0.0.1", str(talkative.port)) == (1, output.no_space(CLIENT))


@pytest.mark.parametrize("count", [0, 1])
def test_a_reader_that_has_gone_is_silence(talkative, count):
    status, errors = output.to_a_reader_of(count, CLIENT, "127.0.0.1", str(talkative.port))
    assert errors == ""
    assert status == 1 if count == 0 else status in (0, 1)


def test_output_that_is_closed_is_one_line(talkative):
    assert output.closed(CLIENT, "127.0.0.1", str(talkative.port)) == (1, output.is_closed(CLIENT))


@pytest.mark.parametrize("program", [(CLIENT, "-h"), (PITFALLS,)])
def test_help_onto_a_full_disk_is_one_line(program):
    assert output.onto_a_full_disk(*program) == (1, output.no_space(program[0]))


def test_errors_that_nobody_reads_are_no_input_of_the_server(server, start):
    client = start(prefix=("sh", "-c", 'exec "$@" 2>&-', "sh"))
    connection = server.accept()
    client.wait_for_sleep()
    connection.shutdown(socket.SHUT_WR)
    assert client.ended() == (0, b"", "")
    assert to_the_end(connection) == b""


@either_way
def test_interrupt_ends_it_at_once_and_in_silence(server, start, terminal, options):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores ^C
    client = start(*options, stdin=terminal[1])
    signal.signal(signal.SIGINT, before)
    server.accept()
    client.wait_for_sleep()
    os.kill(client.pid, signal.SIGINT)
    assert client.ended() == (-signal.SIGINT, b"", "")


# Where splice cannot.


@needs_strace
def test_a_file_of_the_kernels_is_read_and_sent(server, traced):
    with open(f"/proc/{os.getpid()}/limits", "rb") as source:
        expected = source.read()
        source.seek(0)
        client, trace = traced(stdin=source.fileno())
    connection = server.accept()
    assert to_the_end(connection) == expected
    connection.close()
    assert client.ended() == (0, b"", "")
    assert [call.error for call in trace().named("splice")] == ["EINVAL"]
    assert [call.result for call in trace().named("sendto")] == [len(expected)]


@needs_strace
@pytest.mark.parametrize("when", [1, 2, 3, 4])
def test_after_einval_nothing_is_lost_doubled_or_spliced_again(server, traced, when):
    client, trace = traced(extra=("-e", f"inject=splice:error=EINVAL:when={when}"))
    connection = server.accept()
    for line in (b"one\n", b"two\n", b"three\n"):
        client.type(line)
        assert receive(connection, len(line)) == line
    client.end_of_input()
    assert to_the_end(connection) == b""
    connection.close()
    assert client.ended() == (0, b"", "")
    assert [call.error for call in trace().named("splice")] == [None] * (when - 1) + ["EINVAL"]


def test_no_splice_reads_and_sends(server, traced):
    client, trace = traced("--no-splice")
    connection = server.accept()
    client.type(b"hello\n")
    assert receive(connection, 6) == b"hello\n"
    client.end_of_input()
    assert to_the_end(connection) == b""
    connection.close()
    assert client.ended() == (0, b"", "")
    assert not trace().named("splice")
    assert [call.result for call in trace().named("sendto")] == [6]


# A stranger's bytes.


def shown(server, start, terminal, *pieces: bytes, until_the_end=True) -> bytes:
    """What a terminal gets when the server says these pieces, and closes. Line ends are the terminal's: \\r\\n."""
    ours, theirs = terminal
    client = start(stdin=nothing(), stdout=theirs)
    os.close(theirs)
    connection = server.accept()
    for piece in pieces:
        connection.sendall(piece)
    connection.close()
    printed = b"".join(iter(lambda: read_or_end(ours, 65536), b""))
    assert client.ended() == (0, b"", "")
    return printed


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"\x1b[2J\x1b]0;owned\x07", rb"^[[2J^[]0;owned^G"),
        (b"one\ttwo\r\n", b"one\ttwo^M\r\n"),
        (b"back\x08space \x7f \x00 \x0b\x0c\x0e", rb"back^Hspace ^? ^@ ^K^L^N"),
        (b"raw \x9b2J \x80 \x9f", rb"raw \x9b2J \x80 \x9f"),
        ("C1 \x9b2J \x80 \x9f".encode(), rb"C1 \u009b2J \u0080 \u009f"),
        ("été 日本 👩‍👧 \xa0 ру".encode(), "été 日本 👩‍👧 \xa0 ру".encode()),
        ("\u202egnp.exe".encode(), rb"\u202egnp.exe"),
        (b"\xff\xc3( \xed\xa0\x80 \xc0\xaf", rb"\xff\xc3( \xed\xa0\x80 \xc0\xaf"),
        (b"cut \xe6\x97", rb"cut \xe6\x97"),
    ],
)
def test_a_terminal_shows_control_sequences_and_does_not_obey(server, start, terminal, said, expected):
    assert shown(server, start, terminal, said) == expected


def test_no_byte_moves_the_cursor_but_newline_and_tab(server, start, terminal):
    printed = shown(server, start, terminal, EVERY_BYTE)
    text = printed.replace(b"\r\n", b"").decode()
    assert {character for character in text if not character.isprintable()} == {"\t"}


def test_a_character_that_comes_in_pieces_is_whole(server, start, terminal):
    ours, theirs = terminal
    start(stdout=theirs)
    connection = server.accept()
    for number, byte in enumerate("日本".encode()):
        connection.sendall(bytes([byte]))
        if number % 3 == 2:
            assert read_some(ours, 3) == "日本".encode()[number - 2 : number + 1]
        else:
            until(lambda: not unread(connection), "the client to have received it")


def unread(connection) -> int:
    """Bytes sent that the peer's kernel has not acknowledged: SIOCOUTQ, tcp(7)."""
    return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]


def test_in_a_pipe_the_same_bytes_are_untouched(server, start):
    client = start(stdin=nothing())
    connection = server.accept()
    connection.sendall(b"\x1b[2J\x9b\xff\r\n\xe6")
    connection.close()
    assert client.ended() == (0, b"\x1b[2J\x9b\xff\r\n\xe6", "")


# The pitfalls: each goes wrong in its own respect, and the client beside it does not.

NAMES = [
    "late-lines",
    "deaf-at-the-end",
    "last-words-lost",
    "busy-at-hang-up",
    "lines-torn",
    "silent-while-sending",
    "half-a-file",
    "busy-with-nothing-to-send",
    "connected-to-nobody",
    "obeys-strangers",
    "shell-without-waiting",
]


def test_without_a_name_they_are_listed():
    done = run(PITFALLS)
    assert done.returncode == 0
    assert re.findall(r"^  ([a-z-]+) +Symptom: ", done.output, re.MULTILINE) == NAMES


@pytest.mark.parametrize("arguments", [["nonsense"], ["nonsense", "127.0.0.1", "9"], ["-h"]])
def test_an_unknown_name_is_one_clear_line(arguments):
    done = run(PITFALLS, *arguments)
    assert (done.returncode, done.log.count("\n")) == (1, 1)
    assert done.log.startswith(f"pitfalls.py: no pitfall {arguments[0]!r}; there are: {', '.join(NAMES)}")


def test_each_replaces_one_method_and_tells_symptom_cause_and_cure():
    sys.path.insert(0, str(ROOT / "labs/03_poll_client"))
    try:
        import pitfalls
    finally:
        sys.path.pop(0)
    assert list(pitfalls.PITFALLS) == NAMES
    for each in pitfalls.PITFALLS.values():
        assert re.fullmatch(r"Symptom: .+\n *Cause: .+\n *Cure: .+\n? *", each.__doc__)
        replaced = [name for name in vars(each) if not name.startswith("__")]
        assert len(replaced) == 1 and hasattr(pitfalls.PollClient, replaced[0])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("deaf-at-the-end", "lines-torn")])
def test_a_pitfall_is_right_where_it_is_not_wrong(server, pitfall, name):
    client = pitfall(name)
    connection = server.accept()
    client.type(b"hello\n")
    assert receive(connection, 6) == b"hello\n"
    connection.sendall(b"hi\n")
    client.prints(b"hi\n")


def test_late_lines_wait_for_more(server, pitfall, traced):
    client = pitfall("late-lines")
    connection = server.accept()
    delays = []
    for _ in range(3):
        client.wait_for_sleep()
        began = time.monotonic()
        client.type(b"hello\n")
        assert receive(connection, 6) == b"hello\n"
        delays.append(time.monotonic() - began)
    assert min(delays) > LATE_SECONDS  # the kernel's timer: never sooner, however fast the machine


def test_deaf_at_the_end_waits_in_its_own_pipe(server, pitfall):
    client = pitfall("deaf-at-the-end", stdin=nothing())
    connection = server.accept()
    client.wait_for_sleep("splice")
    connection.sendall(b"do you hear me?\n")
    until(lambda: not unread(connection), "the words to have arrived")
    assert client.sleeps_in("splice")
    number = procfs.waits_in(client.pid)[1]
    assert procfs.descriptors(client.pid)[number].startswith("pipe:")
    assert not select.select([connection, client.process.stdout], [], [], 0)[0], "no FIN, and nothing printed"


def test_last_words_lost_says_only_that_the_server_closed(server, pitfall):
    client = pitfall("last-words-lost")
    last_words_at_once(client, server.accept())
    assert client.ended() == (0, b"", "pitfalls.py: the server closed the connection\n")


def test_busy_at_hang_up_spins_and_sends_no_fin(server, pitfall):
    client = pitfall("busy-at-hang-up")
    connection = server.accept()
    client.wait_for_sleep()
    client.end_of_input()
    client.wait_until_busy()
    assert not select.select([connection], [], [], 0)[0]


def test_lines_torn_prints_pieces_and_stops_at_a_nul(server, pitfall):
    client = pitfall("lines-torn", stdin=nothing())
    connection = server.accept()
    line = b"x" * 149 + b"\n"
    connection.sendall(line)
    client.prints(b"x" * 63 + b"\n" + b"x" * 63 + b"\n" + b"x" * 23 + b"\n")
    connection.sendall(b"secret\0hidden\n")
    client.prints(b"secret\n")


def test_silent_while_sending_sleeps_in_splice_while_the_server_talks(small_server, pitfall, big):
    with big.open("rb") as source:
        client = pitfall("silent-while-sending", stdin=source, to=small_server)
    connection = small_server.accept()
    client.wait_for_sleep("splice")
    for _ in range(100):  # the first may be heard, between two splices, while the buffers are not yet full
        connection.sendall(b"do you hear me?\n")
        until(lambda: not unread(connection), "the words to have arrived")
        client.wait_for_sleep("splice")
        if not select.select([client.process.stdout], [], [], 0)[0]:
            break
        client.prints(b"do you hear me?\n")
    else:
        pytest.fail("it hears everything")
    assert to_the_end(connection) == big.read_bytes()
    client.prints(b"do you hear me?\n")


def test_half_a_file_is_all_that_arrives(small_server, pitfall, big):
    with big.open("rb") as source:
        client = pitfall("half-a-file", stdin=source, to=small_server)
    connection = small_server.accept()
    client.wait_until_busy()
    connection.shutdown(socket.SHUT_WR)
    said = "pitfalls.py: the server closed the connection\n"
    assert client.ended() == (0, b"", said), "it has lost something, and does not know"
    assert len(to_the_end(connection)) < BIG_BYTES


def test_busy_with_nothing_to_send_spins_while_nobody_speaks(server, pitfall):
    client = pitfall("busy-with-nothing-to-send")
    server.accept()
    client.wait_until_busy()


def test_connected_to_nobody_loses_what_it_never_had(server, pitfall):
    server.listener.close()
    client = pitfall("connected-to-nobody", stdin=nothing())
    assert client.ended() == (1, b"", "pitfalls.py: connection lost: Connection refused\n")


def test_obeys_strangers_hands_escape_sequences_on(server, pitfall, terminal):
    ours, theirs = terminal
    pitfall("obeys-strangers", stdout=theirs)
    server.accept().sendall(b"\x1b[2J\x9b2J")
    assert read_some(ours, 7) == b"\x1b[2J\x9b2J"


@pytest.mark.parametrize("name", [None, "shell-without-waiting"])
def test_shell_without_waiting_changes_an_input_that_is_not_its_own(server, start, pitfall, name):
    reading, writing = os.pipe()
    client = pitfall(name, stdin=reading) if name else start(stdin=reading)
    connection = server.accept()
    os.write(writing, b"hello\n")
    assert receive(connection, 6) == b"hello\n"
    client.wait_for_sleep()
    assert os.get_blocking(reading) == (name is None)
    os.close(reading)
    os.close(writing)


# The demonstrations of this lab, beside what the handout runs of them.


def demonstrated(name: str, *arguments: str) -> str:
    done = run(f"docs/demos/{name}", *arguments, timeout=30)
    assert (done.returncode, done.log) == (0, "")
    return done.output


def test_splice_f_more_delays_each_line_in_the_demonstration():
    rows = demonstrated("splice_moves.py", "--part", "more").splitlines()[1:]
    without, held_back = ([float(delay) for delay in re.findall(r"\d+\.\d\d", row)] for row in rows)
    assert len(without) == len(held_back) == 5
    assert min(held_back) > LATE_SECONDS * 1000


def test_a_short_move_leaves_something_that_pollout_announces():
    moved, left, end = demonstrated("splice_moves.py", "--part", "short").splitlines()[1:]
    assert 0 < int(re.search(r"(\d+) bytes of 65536 are left in the pipe; POLLOUT: False", left)[1]) <= 65536
    assert end.endswith("POLLOUT: True; splice moves what was left: 0 bytes are left")


def test_speed_is_told_for_each_size():
    rows = demonstrated("splice_moves.py", "--part", "speed").splitlines()[2:]
    assert [int(row.split()[0]) for row in rows] == [64, 4096, 65536]
    assert all(float(figure) >= 0 for row in rows for figure in row.split())


def test_every_part_is_told_in_turn():
    titles = [line for line in demonstrated("splice_moves.py").splitlines() if not line.startswith(" ")]
    assert len(titles) == 5


@pytest.mark.parametrize("name", ["nonsense", "late-lines extra"])
def test_a_scene_with_an_unknown_pitfall_is_one_line(name):
    done = run("docs/demos/client_scenes.py", "talk", "--pitfall", name)
    assert (done.returncode, done.output, done.log.count("\n")) == (1, "", 1)
    assert done.log.startswith(f"client_scenes.py: the client has not come: pitfalls.py: no pitfall {name!r}")


@pytest.mark.parametrize("pitfall", ["last-words-lost", "silent-while-sending", "obeys-strangers", "busy-at-hang-up"])
def test_a_scene_shows_what_its_pitfall_spoils(pitfall):
    scene, reference, spoilt = {
        "last-words-lost": ("last-words", r"prints b'last words\\n'", r"prints nothing more"),
        "silent-while-sending": ("deaf-server", r"prints 200 of them", r"stops printing"),
        "obeys-strangers": ("stranger", r"prints b'\^\[\[2J", r"prints b'\\x1b\[2J"),
        "busy-at-hang-up": ("end-of-input", r"client: sleeps", r"hears nothing for 0.5 s\nclient: works hard"),
    }[pitfall]
    assert re.search(reference, demonstrated("client_scenes.py", scene))
    assert re.search(spoilt, demonstrated("client_scenes.py", scene, "--pitfall", pitfall))

"""Lab 04 as a black box: the server's command line, log, bounds and sleep, and each pitfall beside it.

What goes over the wire is held against its contract by tests/conformance.
"""

import contextlib
import ctypes
import fcntl
import os
import re
import resource
import runpy
import select
import shutil
import signal
import struct
import sys
from pathlib import Path

import pytest

from chatlab import procfs
from chatlab.launch import LaunchError, launch, run
from chatlab.load import Client, admit
from tests.kit.waiting import until
from tests.labs import output

ROOT = Path(__file__).resolve().parents[2]
SERVER = "labs/04_poll_server/poll_server.py"
PITFALLS = "labs/04_poll_server/pitfalls.py"
CLIENT = "labs/03_poll_client/poll_client.py"
SMALL_BUFFER = 4096  # of a receiver, in bytes: the kernel doubles it
SLOW = {"receive_buffer": SMALL_BUFFER}
MEGABYTE = 10**6
LINE = b"x" * 999 + b"\n"
MANY_POLLS = 300
SLOWLY = "-e inject=poll:delay_exit=2000"  # strace makes each poll take 2 ms: who spins does not fill the disk
PIDFD_GETFD, SIOCOUTQNSD = 438, 0x894B  # a system call's number, an ioctl's
NAMES = [
    "busy-after-the-first-line",
    "busy-with-nothing-to-send",
    "busy-without-descriptors",
    "only-the-last-line",
    "holes-for-slow-readers",
    "cut-at-nul",
    "lines-mixed",
    "last-words-lost",
    "gone-at-half-close",
    "deaf-newcomers",
    "frozen-room",
    "memory-without-bound",
    "starved-by-its-own-words",
    "late-lines",
    "no-restart",
    "reset-instead-of-notice",
]

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def beside(pitfall: str):
    """Run a test twice: with the server (pitfall is None), and with the pitfall."""
    return pytest.mark.parametrize("pitfall", [None, pitfall], ids=["reference", pitfall])


class Member(Client):
    """A client that knows its own port, also after it has closed."""

    def __init__(self, address: tuple[str, int], **options):
        super().__init__(address, **options)
        self.port = self.socket.getsockname()[1]


@pytest.fixture
def serve():
    """serve(*options, pitfall=None, trace=False, port=0): a running server, ended after the test."""
    with contextlib.ExitStack() as stack:

        def serve(*options, pitfall=None, port=0, **how):
            program = (PITFALLS, pitfall) if pitfall else (SERVER,)
            return stack.enter_context(launch(*program, "--port", port, *options, **how))

        yield serve


@pytest.fixture
def join():
    """join(server, {}, {}, …): a client for each dict of options, known to be in the room, closed after the test."""
    with contextlib.ExitStack() as stack:

        def join(server, *each: dict):
            clients = [stack.enter_context(Member(server.address, **options)) for options in each]
            admit(clients)
            return clients

        yield join


def newcomer(server) -> Member:
    """A connection of which the server's kernel knows that it stands: it waits in the backlog, or is accepted."""
    client = Member(server.address)
    until(lambda: server_side(client)[0] == "ESTABLISHED", "the connection to stand on the server's side too")
    return client


def server_side(client) -> tuple[str | None, int, int]:
    """The server's end of a client's connection: state, bytes not yet acknowledged, bytes not yet read."""
    for end in server_ends(client):
        return end.state, end.unsent, end.unread
    return None, 0, 0


def server_ends(client) -> list[procfs.TcpSocket]:
    """The server's end of a client's connection, or none."""
    ports = client.address[1], client.port
    return [end for end in procfs.tcp_sockets(client.port) if (end.local[1], end.remote[1]) == ports]


@contextlib.contextmanager
def stopped(server):
    """While the block runs the server is stopped: what comes meanwhile is all there in its next turn."""
    os.kill(server.pid, signal.SIGSTOP)
    until(lambda: procfs.stat(server.pid).state == "T", "the server to be stopped")
    yield
    os.kill(server.pid, signal.SIGCONT)


def say(client, data: bytes) -> None:
    """Send, to a server that is stopped, and wait until its kernel has it all."""
    before = server_side(client)[2]
    client.send(data)
    until(lambda: server_side(client)[2] == before + len(data), "the bytes to have arrived")


def sleeps(server) -> bool:
    return (procfs.waits_in(server.pid) or ("nothing",))[0] == "poll"


def one_by_one(speaker, listener, count: int) -> None:
    """So many lines, each heard before the next is said: each needs a turn of its own."""
    for number in range(count):
        speaker.send_line(b"line %d" % number)
        assert listener.read_line() == b"line %d\n" % number


def logs(server, pattern: str) -> None:
    """Hold the whole log against a pattern, once it has come."""
    server.wait_for(lambda: server.log.endswith("\n"), "log to say something")
    assert re.fullmatch(pattern, server.log)


def polls(server) -> int:
    """How often poll has returned: the one that it sleeps in now has no result yet."""
    return sum(call.result is not None for call in server.trace.named("poll"))


def accepted(server) -> list[int]:
    """The descriptors of all connections, in the order of their coming."""
    return [call.result for call in server.trace.named("accept4") if call.error is None]


def resident_bytes(server) -> int:
    return int(procfs.status(server.pid)["VmRSS"].split()[0]) * 1024


# The command line.


def test_help_explains_every_option():
    done = run(SERVER, "-h")
    options = {"--host", "--port", "--max-clients", "--queue-bytes", "--stall-seconds", "--half-close-seconds"}
    assert (done.returncode, done.log) == (0, "")
    assert options <= set(re.findall(r"^  (--[a-z-]+) .*\S", done.output, re.MULTILINE))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "65536"], "--port is 65536, but a port is between 0 and 65535"),
        (["--port", "-1"], "--port is -1, but a port is between 0 and 65535"),
        (["--port", "http"], "argument --port: invalid int value: 'http'"),
        (["--max-clients", "0"], "--max-clients is 0, but must be greater than 0"),
        (["--queue-bytes", "0"], "--queue-bytes is 0, but must be greater than 0"),
        (["--queue-bytes", "1.5"], "argument --queue-bytes: invalid int value: '1.5'"),
        (["--stall-seconds", "-1"], "--stall-seconds is -1.0, but must be greater than 0"),
        (["--stall-seconds", "inf"], "--stall-seconds is inf, but must be greater than 0"),
        (["--half-close-seconds", "nan"], "--half-close-seconds is nan, but must be greater than 0"),
        (["--half-close-seconds", "soon"], "argument --half-close-seconds: invalid float value: 'soon'"),
        (["9999"], "unrecognized arguments: 9999"),
    ],
)
def test_a_bad_argument_is_one_line(arguments, says):
    done = run(SERVER, *arguments)
    assert (done.returncode, done.output, done.log) == (2, "", f"poll_server.py: {says}\n")


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("no-such-host.invalid", "Name or service not known"),
        ("two..dots", "Name or service not known"),
        ("192.0.2.1", "Cannot assign requested address"),
        ("::1", "Address family for hostname not supported"),
    ],
)
def test_a_host_that_is_not_here_is_one_line(host, says):
    done = run(SERVER, "--host", host, "--port", "0")
    assert (done.returncode, done.output) == (1, "")
    assert re.fullmatch(rf"poll_server: cannot listen on {re.escape(host)}:0: .+\n", done.log)
    if not host.endswith(".invalid"):  # the resolver's words depend on the network
        assert says in done.log


def test_a_port_in_use_is_one_line(serve):
    server = serve()
    done = run(SERVER, "--port", server.port)
    assert (done.returncode, done.output) == (1, "")
    assert done.log == f"poll_server: cannot listen on 127.0.0.1:{server.port}: Address already in use\n"


def test_more_clients_than_descriptors_are_one_line():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = run(SERVER, "--port", "0", "--max-clients", str(hard))
    assert (done.returncode, done.output) == (1, "")
    says = f"poll_server: {hard} clients need more descriptors than the {hard} that are allowed\n"
    assert done.log == says


def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_one(serve):
    server = serve()
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    assert soft == hard


def test_ready_is_one_line_on_standard_output(serve):
    server = serve("--host", "localhost")
    assert server.output == f"listening on 127.0.0.1:{server.port}\n"
    assert server.log == ""


@pytest.mark.parametrize("program", [(SERVER, "--port", "0"), (SERVER, "-h"), (PITFALLS,)])
def test_output_that_takes_nothing_is_one_line_or_silence(program):
    assert output.onto_a_full_disk(*program) == (1, output.no_space(program[0]))
    assert output.to_a_reader_of(0, *program) == (1, "")
    assert output.closed(*program) == (1, output.is_closed(program[0]))


def test_a_log_that_nobody_reads_ends_no_room(serve, join):
    with launch(
        shutil.which("sh"), "-c", 'exec "$@" 2>&-', "sh", sys.executable, SERVER, "--port", "0", "--max-clients", "2"
    ) as server:
        a, b = join(server, {}, {})
        with Member(server.address) as third:
            assert third.read_to_end().startswith(b"* ")
        one_by_one(a, b, 3)


def test_times_beyond_all_measure_are_kept(serve, join):
    server = serve("--half-close-seconds", "1e300", "--stall-seconds", "1e308", "--queue-bytes", "1")
    a, b, c = join(server, {}, {}, SLOW)
    a.end_input()
    b.send(b"x" * 60_000 + b"\n")
    assert len(a.read_line()) == len(c.read_line()) == 60_001
    b.send_line(b"still there?")
    assert a.read_line() == b"still there?\n"


# The end.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_without_a_word(serve, join, number):
    server = serve()
    clients = join(server, {}, {})
    until(lambda: sleeps(server), "the server to sleep")
    server.signal(number)
    assert server.wait() == 0
    assert server.log == ""
    assert [client.ended() for client in clients] == ["end of file"] * 2


def test_a_signal_ends_it_while_senders_wait(serve, join):
    server = serve("--queue-bytes", "10000", "--stall-seconds", "60")
    speaker, _deaf = join(server, {}, SLOW)
    until_it_waits(server, speaker)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log == ""


@beside("no-restart")
def test_restarted_it_listens_on_the_same_port(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b = join(server, {}, {})
    server.signal(signal.SIGTERM)  # the server's close comes first: its ends go to FIN_WAIT, and then TIME_WAIT
    server.wait()
    assert a.ended() == b.ended() == "end of file"
    a.close()
    b.close()
    if pitfall:
        with pytest.raises(LaunchError, match=rf"127\.0\.0\.1:{server.port}: Address already in use$"):
            serve(pitfall=pitfall, port=server.port)
    else:
        one_by_one(*join(serve(port=server.port), {}, {}), 3)


# Wake-ups, counted by strace.


@needs_strace
@beside("busy-with-nothing-to-send")
def test_an_idle_room_sleeps(serve, join, pitfall):
    server = serve(trace=SLOWLY, pitfall=pitfall)
    a, b = join(server, {}, {})
    if pitfall:
        until(lambda: polls(server) > MANY_POLLS, "many wake-ups")
        return
    before = polls(server)
    one_by_one(a, b, 50)
    assert polls(server) - before == 50, "a wake-up for each line"


@needs_strace
@beside("busy-after-the-first-line")
def test_a_room_in_which_something_was_said_sleeps(serve, join, pitfall):
    server = serve(trace=SLOWLY, pitfall=pitfall)
    first = newcomer(server)
    one_alone = polls(server)
    assert one_alone < MANY_POLLS, "who is alone in the room says nothing to anybody"
    a, b = join(server, {}, {})
    first.close()
    if pitfall:
        until(lambda: polls(server) > one_alone + MANY_POLLS, "many wake-ups")
        return
    one_by_one(a, b, 1)
    before = polls(server)
    one_by_one(b, a, 50)
    assert polls(server) - before == 50


@needs_strace
def test_after_a_queue_was_drained_pollout_is_asked_for_no_more(serve, join):
    server = serve(trace=True)
    a, b, slow = join(server, {}, {}, SLOW)
    line = b"x" * 9_999 + b"\n"
    for _ in range(30):
        a.send(line)
        b.read_line()
    assert slow.read_exactly(30 * len(line)) == 30 * line
    one_by_one(a, slow, 2)
    b.read_lines(2)
    asked = [re.findall(r"events=([A-Z|]+)", call.args[0]) for call in server.trace.named("poll")]
    assert "POLLIN|POLLOUT" in sum(asked, [])
    assert set(asked[-1]) == {"POLLIN"}
    before = polls(server)
    one_by_one(a, b, 20)
    assert polls(server) - before == 20


@needs_strace
@beside("busy-without-descriptors")
def test_at_the_limit_of_descriptors_it_sleeps_and_newcomers_get_in_again(serve, join, pitfall):
    server = serve(trace=SLOWLY, pitfall=pitfall)
    a, b, third = join(server, {}, {}, {})
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (len(procfs.descriptors(server.pid)), hard))
    fourth = newcomer(server)
    if pitfall:
        until(lambda: polls(server) > MANY_POLLS, "many wake-ups")
        return
    says = "accept: Too many open files: newcomers must wait\n"
    server.wait_for_text(says, where="log")
    before, rests = polls(server), server.log.count(says)
    one_by_one(a, b, 50)
    third.close()
    admit([a, fourth])
    # A line, or a rest's beginning or end, wakes it; so do the close of `third` and the probes of `fourth`.
    probes = len(b.arrived().splitlines())
    assert polls(server) - before <= 50 + 2 * (server.log.count(says) - rests + 1) + probes + 2
    assert server.log == says * server.log.count(says)


@needs_strace
def test_a_newcomer_that_has_gone_before_accept_is_passed_over(serve, join):
    server = serve(trace="-e inject=accept4:error=ECONNABORTED:when=1")
    one_by_one(*join(server, {}, {}), 3)
    assert server.log == ""
    assert [call.error for call in server.trace.named("accept4")][:2] == ["ECONNABORTED", None]


@needs_strace
def test_each_connection_is_non_blocking_and_without_nagle(serve, join):
    server = serve(trace=True)
    join(server, {}, {})
    assert len(accepted(server)) == 2
    for fd in accepted(server):
        calls = [call.text for call in server.trace.named("fcntl", "setsockopt") if call.fd == fd]
        assert any("F_SETFL, O_RDWR|O_NONBLOCK" in text for text in calls)
        assert any("TCP_NODELAY, [1]" in text for text in calls)


@needs_strace
def test_one_turn_sends_to_each_client_once(serve, join):
    server = serve(trace=True)
    speaker, *listeners = join(server, {}, {}, {}, {})
    before = len(server.trace.named("sendmsg"))
    speaker.send(b"".join(b"line %d\n" % number for number in range(100)))
    for client in listeners:
        client.read_until(b"line 99")
    assert len(server.trace.named("sendmsg")) - before == 3


# Readers that are slow, or do not read.


def until_it_waits(server, speaker) -> int:
    """Speak until the server reads no more, and the kernel takes no more either. Returns the bytes that it took."""
    speaker.socket.setblocking(False)
    taken = 0
    while True:
        with contextlib.suppress(BlockingIOError):
            while True:
                taken += speaker.socket.send(LINE[taken % len(LINE) :])
        if not select.select([], [speaker.socket], [], 0)[1] and sleeps(server) and server_side(speaker)[2]:
            break
    speaker.socket.settimeout(speaker.timeout)
    return taken


def test_a_full_queue_makes_the_sender_wait_and_nothing_is_lost(serve, join):
    server = serve("--queue-bytes", "100000", "--stall-seconds", "60")
    speaker, slow, other = join(server, {}, {"receive_buffer": 65_536}, {})
    memory = resident_bytes(server)
    taken = until_it_waits(server, speaker)
    assert taken > 100_000
    assert resident_bytes(server) - memory < 4 * MEGABYTE
    assert len(other.arrived()) < taken, "what the server has not read waits on the sender's side"
    other.send_line(b"me too")  # nobody is read: not only the one that has filled the queue
    until(lambda: server_side(other)[2] == 7 and sleeps(server), "the line to wait in the server's kernel")
    everybody = (speaker, slow, other)
    until(
        lambda: [len(client.arrived()) for client in everybody] == [7, taken // 1000 * 1000 + 7, taken // 1000 * 1000],
        "all",
    )
    assert slow.unread.replace(b"me too\n", b"") == other.unread == LINE * (taken // 1000)
    assert server.log == ""


@beside("frozen-room")
def test_who_does_not_read_holds_up_nobody_else(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    speaker, other, deaf = join(server, {}, {}, SLOW)
    for number in range(60):  # 600 kB: less than a queue holds, more than the kernel keeps for a client
        speaker.send(b"%09999d\n" % number)
        assert other.read_line() == b"%09999d\n" % number
        until(lambda: (procfs.waits_in(server.pid) or ("",))[0] in ("poll", "sendmsg"), "the turn's end")
        if not sleeps(server):
            break
    assert sleeps(server) == (pitfall is None)
    speaker.send_line(b"does anybody hear me?")
    if pitfall:
        until(lambda: server_side(speaker)[2], "the line to arrive")
        assert procfs.waits_in(server.pid)[0] == "sendmsg"
        assert other.arrived() == b""
        deaf.read_until(b"does anybody hear me?")
    assert other.read_line() == b"does anybody hear me?\n"


@beside("memory-without-bound")
def test_who_does_not_read_costs_no_memory_and_is_evicted(serve, join, pitfall):
    server = serve("--queue-bytes", "100000", "--stall-seconds", "0.2", pitfall=pitfall)
    speaker, other, deaf = join(server, {}, {}, SLOW)
    memory = resident_bytes(server)
    line = b"x" * 49_999 + b"\n"
    for _ in range(400):
        speaker.send(line)
        assert other.read_line() == line
    grown = resident_bytes(server) - memory
    if pitfall:
        assert grown > 15 * MEGABYTE
        assert server.log == ""
        return
    assert grown < 4 * MEGABYTE
    logs(server, rf"127\.0\.0\.1:{deaf.port}: evicted: \d{{6}} bytes wait for it, and it takes nothing\n")
    assert deaf.ended() == "reset"
    one_by_one(speaker, other, 3)


@beside("holes-for-slow-readers")
def test_who_reads_late_has_every_line(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    speaker, other, slow = join(server, {}, {}, SLOW)
    lines = [b"%d %s\n" % (number, b"x" * 500) for number in range(1200)]
    for start in range(0, len(lines), 20):
        speaker.send(b"".join(lines[start : start + 20]))
        other.read_until(lines[start + 19])
    until(lambda: (slow.arrived(), server_side(slow)[1] == 0)[1], "the kernel to have nothing more for it")
    speaker.send_line(b"the end")
    heard = [slow.read_line()]
    while not heard[-1].endswith(b"the end\n"):  # behind half a line, perhaps
        heard.append(slow.read_line())
    if pitfall:
        assert len(heard) < len(lines)
        assert not set(heard) <= {*lines, b"the end\n"}, "there are cut lines too"
    else:
        assert heard == [*lines, b"the end\n"]


@needs_strace
@beside("starved-by-its-own-words")
def test_who_talks_without_a_pause_hears_the_others(serve, join, pitfall):
    # strace makes each recv take 20 ms, so that there is always more to be read.
    server = serve(trace="-e inject=recvfrom:delay_exit=20000", pitfall=pitfall)
    other, talker, listener = join(server, {}, {"receive_buffer": 4 * SMALL_BUFFER}, {})
    fd = accepted(server)[1]
    for _ in range(40):
        other.send(b"x" * 9_999 + b"\n")  # the kernel takes a part for the talker, the rest is queued
        listener.read_line()
    talk(talker, [other, listener], 1500)
    turns = [turn for turn in turns_of(server) if turn["ready"].get(fd) == "POLLIN|POLLOUT"]
    assert turns, "it could be read and written at once"
    assert all((fd in turn["sent"]) == (pitfall is None) for turn in turns)


def talk(talker, others, count: int) -> None:
    """Have a client say so many lines as fast as they are taken, while all read, until the others have heard them."""
    left = memoryview(LINE * count)

    def all_is_heard() -> bool:
        nonlocal left
        talker.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while left:
                left = left[talker.socket.send(left) :]
        talker.arrived()
        return {len(other.arrived()) for other in others} == {len(LINE) * count}

    until(all_is_heard, "all to be heard")


def turns_of(server) -> list[dict]:
    """Each turn of the loop: who was ready for what, and which descriptors were sent to before the next poll."""
    turns = []
    for call in server.trace.named("poll", "sendmsg"):
        if call.name == "poll":
            ready = re.findall(r"\{fd=(\d+)[^{}]*?, revents=([A-Z|]+)\}", call.text)
            turns.append({"ready": {int(fd): revents for fd, revents in ready}, "sent": set()})
        elif turns and call.fd is not None:
            turns[-1]["sent"].add(call.fd)
    return turns


# Lines: lost, cut, mixed, late.


@beside("only-the-last-line")
def test_all_who_speak_in_one_turn_are_heard(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b, reader = join(server, {}, {}, {})
    with stopped(server):
        say(a, b"one\n")
        say(b, b"two\n")
    assert reader.read_until(b"two") == ([b"two\n"] if pitfall else [b"one\n", b"two\n"])


@beside("cut-at-nul")
def test_a_nul_is_a_byte_like_any_other(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b, reader = join(server, {}, {}, {})
    with stopped(server):
        say(a, b"before\0behind\n")
        say(b, b"between\n")
    heard = reader.read_until(b"between")
    a.send_line(b"again")
    heard.append(reader.read_line())
    assert heard == [b"between\n", b"beforeagain\n"] if pitfall else [b"before\0behind\n", b"between\n", b"again\n"]


@beside("lines-mixed")
def test_nobody_speaks_into_another_ones_line(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b, reader = join(server, {}, {}, {})
    with stopped(server):
        say(a, b"to be ")
        say(b, b"hello\n")
    first = reader.read_line()
    a.send_line(b"or not")
    assert [first, reader.read_line()] == (
        [b"to be hello\n", b"or not\n"] if pitfall else [b"hello\n", b"to be or not\n"]
    )


@beside("last-words-lost")
def test_what_was_said_before_a_reset_is_heard(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b, reader = join(server, {}, {}, {})
    with stopped(server):
        say(a, b"last words\nand half a li")
        a.reset()
        until(lambda: server_side(a)[0] is None, "the reset to arrive")
    b.send_line(b"what did it say?")
    assert reader.read_until(b"what did it say?")[:-1] == ([] if pitfall else [b"last words\n"])


@beside("gone-at-half-close")
def test_who_has_half_closed_is_heard_out_and_hears(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b, reader = join(server, {}, {}, {})
    a.send(b"unfinished")
    a.end_input()
    if pitfall:
        assert a.ended() == "end of file"
        b.send_line(b"answer")
    else:
        assert reader.read_line() == b"unfinished\n"
        b.send_line(b"answer")
        assert a.read_line() == b"answer\n"
    assert reader.read_line() == b"answer\n"


@beside("deaf-newcomers")
def test_who_has_come_hears_what_is_said_then(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b = join(server, {}, {})
    with contextlib.ExitStack() as stack:
        with stopped(server):
            newcomers = [stack.enter_context(newcomer(server)) for _ in range(3)]
            say(a, b"welcome\n")
        assert b.read_line() == b"welcome\n"
        one_by_one(a, b, 5)  # five turns: by then even one a turn has come in
        heard = [client.read_line() == b"welcome\n" for client in newcomers]
    assert heard == [True, not pitfall, not pitfall]


@beside("late-lines")
def test_the_second_line_does_not_wait_for_the_first_ones_ack(serve, join, pitfall):
    server = serve(pitfall=pitfall)
    a, b = join(server, {}, {})
    held_back = 0
    with servers_end(server, b) as end:
        for _ in range(100):
            one_by_one(b, a, 1)  # who has just spoken delays its ACKs
            one_by_one(a, b, 1)
            a.send_line(b"two")
            until(lambda: not_sent(end) or b.arrived(), "the line to be sent, or to be held back")
            held_back += not b.arrived()
            assert b.read_line() == b"two\n"
            if held_back > 3:
                break
    assert (held_back > 3) == (pitfall is not None)


@contextlib.contextmanager
def servers_end(server, client):
    """A duplicate of the server's own descriptor of this connection: pidfd_getfd(2)."""
    [inode] = [end.inode for end in server_ends(client)]
    [number] = [fd for fd, name in procfs.descriptors(server.pid).items() if name == f"socket:[{inode}]"]
    pidfd = os.pidfd_open(server.pid)
    duplicate = ctypes.CDLL(None).syscall(PIDFD_GETFD, pidfd, number, 0)
    os.close(pidfd)
    if duplicate < 0:
        pytest.skip("not checked: this system does not let one process look into another's sockets: ptrace(2)")
    yield duplicate
    os.close(duplicate)


def not_sent(descriptor: int) -> int:
    """How many bytes the kernel has taken for a connection and keeps to itself: SIOCOUTQNSD of linux/sockios.h."""
    return struct.unpack("i", fcntl.ioctl(descriptor, SIOCOUTQNSD, bytes(4)))[0]


@beside("reset-instead-of-notice")
def test_who_is_turned_away_while_speaking_reads_why(serve, join, pitfall):
    server = serve("--max-clients", "2", pitfall=pitfall)
    a, b = join(server, {}, {})
    with stopped(server):
        third = newcomer(server)
        say(third, b"hello\n")
    notice = b"* this room is full (2 clients), try again later\n"
    with third:
        assert third.ended() == ("reset" if pitfall else "end of file")
        assert bytes(third.received) == notice
    logs(server, re.escape(f"127.0.0.1:{third.port}: {notice.decode()[2:]}"))
    one_by_one(a, b, 3)


# What is logged, and who else is a client.


def test_a_line_too_long_is_logged(serve, join):
    server = serve()
    a, b = join(server, {}, {})
    a.send(b"x" * 65_536)
    notice = "a line has at most 65536 bytes, its newline included"
    assert a.read_to_end() == f"* {notice}\n".encode()
    logs(server, re.escape(f"127.0.0.1:{a.port}: {notice}\n"))


def test_who_has_half_closed_stays_for_the_time_that_was_given(serve, join):
    server = serve("--half-close-seconds", "0.1")
    a, b, c = join(server, {}, {}, {})
    a.end_input()
    assert a.ended() == "end of file"
    one_by_one(b, c, 3)
    assert server.log == ""


def test_the_client_of_lab_03_is_a_member(serve, join):
    program_speaks_and_hears(serve, join, CLIENT)


@pytest.mark.parametrize("name", ["nc", "ncat", "socat", "telnet"])
def test_programs_that_everybody_has_are_members(serve, join, name):
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    program_speaks_and_hears(serve, join, program)


def program_speaks_and_hears(serve, join, program: str) -> None:
    server = serve()
    a, b = join(server, {}, {})
    address = [f"TCP:127.0.0.1:{server.port}"] if program.endswith("socat") else ["127.0.0.1", server.port]
    own = ["-"] if program.endswith("socat") else []
    with launch(program, *own, *address, ready=False, stdin="pipe") as other:
        other.write(b"hello\n")
        assert a.read_line() == b.read_line() == b"hello\n"
        a.send_line(b"welcome")
        other.wait_for_text("welcome\n")
        assert b.read_line() == b"welcome\n"


# The pitfalls.


def test_without_a_name_they_are_listed():
    done = run(PITFALLS)
    assert done.returncode == 0
    assert re.findall(r"^  ([a-z0-9-]+) +Symptom: ", done.output, re.MULTILINE) == NAMES


@pytest.mark.parametrize("arguments", [["nonsense"], ["nonsense", "--port", "0"], ["-h"]])
def test_an_unknown_name_is_one_clear_line(arguments):
    done = run(PITFALLS, *arguments)
    assert (done.returncode, done.log.count("\n")) == (1, 1)
    assert done.log.startswith(f"pitfalls.py: no pitfall {arguments[0]!r}; there are: {', '.join(NAMES)}")


def test_each_replaces_one_method_and_tells_symptom_cause_and_cure(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "labs/04_poll_server")
    there = runpy.run_path(ROOT / PITFALLS)
    assert list(there["PITFALLS"]) == NAMES
    for each in there["PITFALLS"].values():
        assert re.fullmatch(r"Symptom: .+\n *Cause: .+\n *Cure: .+\n? *", each.__doc__)
        replaced = [name for name in vars(each) if not name.startswith("__")]
        assert len(replaced) == 1 and hasattr(there["PollServer"], replaced[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_pitfall_is_right_where_it_is_not_wrong(serve, join, name):
    server = serve(pitfall=name)
    a, b, c = join(server, {}, {}, {})
    a.send_line(b"hello")
    assert b.read_line() == c.read_line() == b"hello\n"
    b.send_line(b"hi")
    assert a.read_line() == c.read_line() == b"hi\n"


# The demonstrations: what they print is held against the handout, which shows it.


def test_a_scene_with_a_pitfall_that_there_is_not_is_one_line():
    done = run("docs/demos/room_scenes.py", "talk", "--pitfall", "nonsense")
    assert (done.returncode, done.output, done.log.count("\n")) == (1, "", 1)
    assert done.log.startswith("room_scenes.py: pitfalls.py: no pitfall 'nonsense'; there are: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["notsent_lowat.py", "--seconds", "0"], "'0' is not a time from 1 to 60 s"),
        (["notsent_lowat.py", "--seconds", "nan"], "'nan' is not a time from 1 to 60 s"),
        (["send_ways.py", "--clients", "15"], "'15' is not a number from 16 to 5000"),
        (["send_ways.py", "--size", "-1"], "'-1' is not a number from 2 to 4096"),
        (["room_scenes.py", "opera"], "invalid choice: 'opera'"),
    ],
)
def test_a_demonstration_refuses_bad_input(arguments, says):
    program, *options = arguments
    done = run(f"docs/demos/{program}", *options)
    assert (done.returncode, done.output) == (2, "")
    assert says in done.log.splitlines()[-1]
    assert "Traceback" not in done.log


def test_more_clients_than_descriptors_are_one_line_in_a_demonstration():
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed")
    done = run(shutil.which("prlimit"), "--nofile=100:100", sys.executable, str(ROOT / "docs/demos/send_ways.py"))
    assert (done.returncode, done.log) == (1, "send_ways.py: 400 clients: Too many open files\n")

"""chatlab.load: a good relay has no fault, and each kind of bad relay is found out and named."""

import contextlib
import os
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

from chatlab import launch
from chatlab.load import Client, LoadError, Room, admit, closed_loop, errors, fixed_rate
from chatlab.load.order import make_line

# A relay that is correct while nobody is slow; `spoil` is the step that a test replaces: what a receiver gets of a
# line. Called with the line, its sender's and the receiver's number (as they were accepted) and `state`, a dictionary.
RELAY = """
import select, socket, sys
listener = socket.create_server(("127.0.0.1", 0), backlog=256)
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
clients, rests, numbers, state = {}, {}, {}, {}
GREETING, GOODBYE = b"", None

def spoil(line, sender, receiver, state):
    return [line] if sender != receiver else []

SPOILT

def leave(client):
    poller.unregister(client)
    numbers.pop(client.fileno()), rests.pop(client.fileno()), clients.pop(client.fileno()).close()

poller = select.poll()
poller.register(listener, select.POLLIN)
while True:
    for descriptor, _ in poller.poll():
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()], rests[client.fileno()] = client, b""
            numbers[client.fileno()] = len(state.setdefault("accepted", []))
            state["accepted"].append(client.fileno())
            poller.register(client, select.POLLIN)
            client.send(GREETING)
            continue
        client = clients.get(descriptor)
        try:
            data = client.recv(65536) if client else b""
        except OSError:
            data = b""
        if not data:
            if client:
                leave(client)
            continue
        *lines, rests[descriptor] = (rests[descriptor] + data).split(b"\\n")
        for line in lines:
            for other in list(clients.values()):
                for piece in spoil(line + b"\\n", numbers[descriptor], numbers[other.fileno()], state):
                    if piece is None:
                        leave(other)
                        break
                    other.sendall(piece)
"""


@pytest.fixture
def relay(tmp_path):
    """relay(spoilt) → a running relay, with other steps instead of the correct ones."""
    running = []

    def start(spoilt: str = ""):
        path = tmp_path / f"relay{len(running)}.py"
        path.write_text(RELAY.replace("SPOILT", textwrap.dedent(spoilt)))
        running.append(launch(path))
        return running[-1].address

    yield start
    for server in running:
        server.stop(grace=0.0)


@pytest.fixture
def impatient(monkeypatch):
    """Silence means loss sooner: these relays answer within a millisecond, or never."""
    monkeypatch.setattr(errors, "PATIENCE_SECONDS", 1.5)


def test_a_correct_relay_has_no_fault(relay):
    result = closed_loop(relay(), clients=10, senders=4, window=8, lines=400).require()
    assert result.ok
    assert (result.clients, result.senders, result.size, result.window, result.rate) == (10, 4, 64, 8, None)
    assert result.lines == 400
    assert result.deliveries == 400 * 9
    assert len(result.latency) == len(result.at) == 400 * 9
    assert len(result.completion) == 400
    assert result.sampled == 1
    assert 0 < result.p50 <= result.p90 <= result.p99 <= result.maximum
    assert (result.latency > 0).all()
    assert (result.at > 0).all()
    assert result.at.max() <= result.seconds + result.maximum


def test_a_closed_loop_by_time_measures_that_time(relay):
    result = closed_loop(relay(), clients=5, seconds=0.3, warmup=0.1).require()
    assert 0 < result.seconds < 60
    assert result.deliveries > 0
    assert result.lines > 0
    assert result.senders == 4
    assert 0 < result.busy <= 1.1


def test_a_fixed_rate_sends_what_was_asked_for(relay):
    result = fixed_rate(relay(), 6, 200, 0.5).require()
    assert result.rate == 200
    assert result.window is None
    assert len(result.latency) == 100 * 5
    assert len(result.completion) == 100


def test_the_warm_up_counts_for_nothing(relay):
    result = fixed_rate(relay(), 3, 100, 0.5, warmup=0.5).require()
    assert len(result.latency) == 50 * 2


def test_two_clients_of_whom_one_sends(relay):
    result = closed_loop(relay(), clients=2, lines=50).require()
    assert result.senders == 1
    assert len(result.latency) == 50


def test_long_lines_and_all_but_one_sending(relay):
    result = closed_loop(relay(), clients=4, senders=3, size=5000, lines=60).require()
    assert result.deliveries == 180


def test_several_runs_over_the_same_room(relay):
    with Room(relay(), 5) as room:
        for _ in range(3):
            assert room.closed_loop(lines=100).require().deliveries == 400
        assert len(room.fixed_rate(500, 0.1).require().completion) == 50


def test_deliveries_are_sampled_when_there_are_too_many(relay, monkeypatch):
    monkeypatch.setattr("chatlab.load.result.MOST_SAMPLES", 500)
    result = closed_loop(relay(), clients=5, lines=1000).require()
    assert result.deliveries == 4000
    assert result.sampled in (8, 16)
    assert 4000 // result.sampled - 2 <= len(result.latency) <= 500


# Bad relays

LOSES = """
def spoil(line, sender, receiver, state):
    state["n"] = state.get("n", 0) + line.startswith(b"0000")
    return [] if sender == receiver or (state["n"] == 300 and line.startswith(b"0000")) else [line]
"""
LOSES_THE_LAST = """
def spoil(line, sender, receiver, state):
    return [] if sender == receiver or (receiver == 3 and b" 000000049 " in line and sender == 0) else [line]
"""
LOSES_FOR_THE_FIRST_LISTENER = """
def spoil(line, sender, receiver, state):
    return [] if sender == receiver or (receiver == 2 and b" 000000007 " in line and sender == 0) else [line]
"""
REPEATS = """
def spoil(line, sender, receiver, state):
    return [] if sender == receiver else [line, line] if receiver == 4 and b" 000000010 " in line else [line]
"""
REPEATS_FOR_ALL = """
def spoil(line, sender, receiver, state):
    return [] if sender == receiver else [line, line] if b" 000000010 " in line else [line]
"""
REPEATS_THE_LAST = """
def spoil(line, sender, receiver, state):
    return [] if sender == receiver else [line, line] if b" 000000049 " in line and receiver == 4 else [line]
"""
TEARS = """
def spoil(line, sender, receiver, state):
    if sender == receiver:
        return []
    return [line[:20] + line[21:]] if receiver == 4 and b" 000000010 " in line else [line]
"""
CHANGES = """
def spoil(line, sender, receiver, state):
    return [line.replace(b"....", b".\\0..", 1) if b" 000000010 " in line else line] if sender != receiver else []
"""
MIXES = """
def spoil(line, sender, receiver, state):
    if sender == receiver:
        return []
    if receiver == 4 and b"00000 000000010 " in line:
        return [line[:30], b"00001 0000" + line[30:]]
    return [line]
"""
ECHOES = """
def spoil(line, sender, receiver, state):
    return [line] if sender != receiver or line.startswith(b"0000") else []
"""
ECHOES_THE_LAST = """
def spoil(line, sender, receiver, state):
    return [line] if sender != receiver or b" 000000049 " in line else []
"""
REORDERS = """
def spoil(line, sender, receiver, state):
    if sender == receiver:
        return []
    if receiver == 4 and sender == 0 and b" 000000010 " in line:
        state["kept"] = line
        return []
    if receiver == 4 and sender == 0 and b" 000000011 " in line:
        return [line, state["kept"]]
    return [line]
"""
NEVER_ENDS_A_LINE = """
def spoil(line, sender, receiver, state):
    return [] if sender == receiver else [line[:-1]] if receiver == 4 and b"00001 000000049 " in line else [line]
"""
EVICTS = """
def spoil(line, sender, receiver, state):
    if sender == receiver:
        return []
    return [b"* you are too slow\\n", None] if receiver == 4 and b" 000000010 " in line else [line]
"""

ENDS_A_SENDER = """
def spoil(line, sender, receiver, state):
    if sender == receiver:
        return []
    return [None] if receiver == 0 and b" 000000010 " in line else [line]
"""

BAD = {
    "loses": (LOSES, {"lost": 1}, "never got line"),
    "loses the last": (LOSES_THE_LAST, {"lost": 1}, "client 3 never got line 49 of client 0"),
    "loses for the first listener": (
        LOSES_FOR_THE_FIRST_LISTENER,
        {"lost": 1},
        "client 2 never got line 7 of client 0",
    ),
    "repeats": (REPEATS, {"repeated": 2}, "client 4 got line 10 of client"),
    "repeats for all": (REPEATS_FOR_ALL, {"repeated": 8}, "got line 10 of client"),
    "repeats the last": (REPEATS_THE_LAST, {"repeated": 2}, "client 4 got line 49 of client"),
    "tears": (TEARS, {"torn": 2, "lost": 2}, "which nobody sent"),
    "changes a byte": (CHANGES, {"torn": 8, "lost": 8}, "which nobody sent"),
    "mixes two lines": (MIXES, {"torn": 1, "lost": 1}, "which nobody sent"),
    "never ends a line": (NEVER_ENDS_A_LINE, {"torn": 1, "lost": 1}, "without an end"),
    "echoes": (ECHOES, {"echoed": 102}, "got its own line 0"),
    "echoes the last": (ECHOES_THE_LAST, {"echoed": 2}, "got its own line 49"),
    "reorders": (REORDERS, {"reordered": 1}, "client 4 got line 10 of client 0 after line 11"),
    "ends a sender": (ENDS_A_SENDER, {"gone": 1}, "the server ended client 0's connection"),
    "evicts": (EVICTS, {"gone": 1}, "its last words b'* you are too slow\\n'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_relay_is_found_out(name, relay, impatient):
    spoilt, counts, words = BAD[name]
    # Two senders, fifty lines each and a closing one, and three listeners.
    result = closed_loop(relay(spoilt), clients=5, senders=2, window=50, lines=100)
    assert {kind: count for kind, count in result.faults.items() if count} == counts
    assert words in "\n".join(result.examples)
    with pytest.raises(LoadError, match=r"^\d+ \w+"):
        result.require()


def test_each_client_may_have_an_order_of_its_own(relay):
    result = closed_loop(
        relay(
            """
            def spoil(line, sender, receiver, state):
                # For odd receivers the first lines of sender 0 wait for one of sender 1.
                if sender == receiver:
                    return []
                kept = state.setdefault(receiver, [])
                if receiver % 2 and sender == 0 and b" 00000000" in line:
                    kept.append(line)
                    return []
                pieces = [line, *kept] if sender else [*kept, line]
                kept.clear()
                return pieces
            """
        ),
        clients=7,
        senders=2,
        window=50,
        lines=100,
    )
    assert result.faults == dict.fromkeys(result.faults, 0)
    assert len(result.completion) == 100


def test_a_pause_is_not_taken_for_a_loss(relay, monkeypatch):
    monkeypatch.setattr(errors, "PATIENCE_SECONDS", 1.0)
    result = fixed_rate(relay(), 3, 0.8, 2.5).require()  # a line every 1.25 s
    assert len(result.completion) == 2


def test_a_bad_relay_is_found_out_at_a_fixed_rate_too(relay, impatient):
    result = fixed_rate(relay(LOSES), 5, 400, 0.5, senders=2)
    assert result.faults["lost"] == 1


# Errors are one line


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    with pytest.raises(LoadError, match=rf"^cannot connect to 127.0.0.1:{address[1]}: Connection refused$"):
        closed_loop(address, clients=3, lines=1)


def test_a_server_that_turns_clients_away(relay):
    full = """
    def spoil(line, sender, receiver, state):
        return [] if sender == receiver else [b"* this server is full\\n", None] if receiver == 3 else [line]
    """
    with pytest.raises(LoadError, match=r"^the server turned client 3 away, saying b'\* this server is full"):
        Room(relay(full), 5)


def test_a_later_client_that_is_turned_away_is_named_by_its_number(relay):
    full = """
    def spoil(line, sender, receiver, state):
        return [] if sender == receiver else [None] if receiver == 70 else [line]
    """
    with pytest.raises(LoadError, match=r"^the server turned client 70 away$"):
        Room(relay(full), 80)


def test_a_room_whose_only_listener_has_gone(relay, impatient):
    with Room(relay(EVICTS), 5) as room:
        assert room.closed_loop(senders=4, lines=60).faults["gone"] == 1
        with pytest.raises(LoadError, match="has ended every client of this room that only listens$"):
            room.closed_loop(senders=4, lines=10)
        room.closed_loop(senders=3, lines=9).require()


def test_a_server_that_ends(relay):
    ends = """
    def spoil(line, sender, receiver, state):
        if b" 000000010 " in line:
            sys.exit()
        return [line] if sender != receiver else []
    """
    with pytest.raises(LoadError, match=r"^the server at 127.0.0.1:\d+ has ended its connections: "):
        closed_loop(relay(ends), clients=5, lines=100)


def test_a_server_that_relays_nothing(relay, impatient, monkeypatch):
    with pytest.raises(LoadError, match=r"^clients 1 … 2 \(2\) of 3 got no probe line within 1.5 s$"):
        Room(relay("def spoil(line, sender, receiver, state): return []"), 3)


def test_too_few_descriptors():
    program = """
    import resource
    from chatlab.load import LoadError, Room
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
    try:
        Room(("127.0.0.1", 1), 5000)
    except LoadError as error:
        print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout == "5000 clients need 5064 descriptors, and this process may have 200 (ulimit -Hn)\n"


def test_the_soft_limit_is_raised(relay):
    program = f"""
    import resource
    from chatlab.load import Room
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with Room({relay()!r}, 100) as room:
        print(room.closed_loop(lines=100).require().deliveries)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout == "9900\n", done.stderr


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda room: room.closed_loop(), "a closed loop needs either seconds=… or lines=…"),
        (lambda room: room.closed_loop(lines=1, seconds=1), "a closed loop needs either seconds=… or lines=…"),
        (lambda room: room.closed_loop(lines=1, window=0), "a window of 0 lines: 1 at least"),
        (lambda room: room.closed_loop(lines=1, size=31), "lines of 31 bytes: 32 to 65536 are possible"),
        (lambda room: room.closed_loop(lines=1, senders=3), "3 senders among 3 clients: 1 to 2 are possible"),
        (lambda room: room.fixed_rate(0, 1.0), "a rate of 0 messages a second: it must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(relay, call, complaint):
    with Room(relay(), 3) as room, pytest.raises(LoadError) as raised:
        call(room)
    assert str(raised.value) == complaint


def test_one_client_is_no_room():
    with pytest.raises(LoadError, match="^1 clients: a line needs a sender and a receiver, so 2 at least$"):
        Room(("127.0.0.1", 1), 1)


def test_a_line_has_its_size_and_names_its_sender_at_both_ends():
    for size in (32, 33, 64, 65_536):
        line = make_line(12, 345, size)
        assert len(line) == size
        assert line.startswith(b"00012 000000345 ")
        assert line.endswith(b"00012 000000345\n")
        assert line.count(b"\n") == 1


def test_a_bar_is_drawn_on_a_terminal_only(relay):
    program = f"""
    from chatlab.load import closed_loop
    closed_loop({relay()!r}, 3, seconds=0.5, progress=True).require()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""
    master, terminal = os.openpty()
    with subprocess.Popen(command, stderr=terminal) as drawing:
        os.close(terminal)
        drawn = b""
        with contextlib.suppress(OSError):  # EIO: the other end of the terminal is closed
            while data := os.read(master, 4096):
                drawn += data
    os.close(master)
    assert drawing.returncode == 0
    assert b"closed loop, window 16" in drawn
    assert b"3 clients join" in drawn


# One client, step by step


@pytest.fixture
def pair():
    """A Client, and the other end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener, Client(listener.getsockname(), timeout=1.0) as client:
        connection, _ = listener.accept()
        with connection:
            yield client, connection


def test_lines_are_read_as_they_come(pair):
    client, peer = pair
    peer.sendall(b"one\ntwo\n\nthr")
    assert client.read_lines(3) == [b"one\n", b"two\n", b"\n"]
    assert client.unread == b"thr"
    peer.sendall(b"ee\nfour\nleft")
    assert client.read_until(b"four") == [b"three\n", b"four\n"]
    peer.shutdown(socket.SHUT_WR)
    assert client.read_line() == b"left"
    assert client.read_line() == b""
    assert client.received == b"one\ntwo\n\nthree\nfour\nleft"


def test_a_client_sends_what_it_is_told(pair):
    client, peer = pair
    client.send(b"half a ")
    client.send_line(b"line")
    client.end_input()
    assert peer.makefile("rb").read() == b"half a line\n"
    peer.sendall(b"answer\n")
    assert client.read_line() == b"answer\n"


def test_how_a_connection_ended(pair):
    client, peer = pair
    peer.sendall(b"last words")
    peer.close()
    assert client.ended() == "end of file"
    assert client.received == b"last words"


def test_a_reset_is_told(pair):
    client, peer = pair
    client.send(b"unread by the peer, so that its close sends RST")
    peer.close()
    assert client.ended() == "reset"
    with pytest.raises(LoadError, match="reset"):
        client.read_line()


def test_a_client_resets(pair):
    client, peer = pair
    client.reset()
    with pytest.raises(ConnectionResetError):
        peer.recv(1)


def test_a_wait_in_vain_is_one_line(pair):
    client, peer = pair
    client.timeout = 0.05
    peer.sendall(b"no newline")
    with pytest.raises(LoadError, match=r"^waited 0.05 s for a line; unread so far: b'no newline'$"):
        client.read_line()
    peer.close()
    with pytest.raises(LoadError, match=r"^end of file came before the line b'x\\n'$"):
        client.read_until(b"x")


def test_what_has_arrived_is_seen_without_waiting(pair):
    client, peer = pair
    assert client.arrived() == b""
    peer.sendall(b"here\n")
    assert client.read_line() == b"here\n"
    assert client.arrived() == b""


def test_members_are_known_to_be_in(relay):
    address = relay()
    with Client(address) as first, Client(address) as second, Client(address) as third:
        admit([first, second, third])
        third.send_line(b"hello")
        assert [first.read_line(), second.read_line()] == [b"hello\n"] * 2
        assert first.unread == second.unread == third.arrived() == b""


def test_a_server_that_is_slow_to_accept_is_waited_for():
    # It accepts the second client only after the first one's probe line has come: that line is lost, the next is not.
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            first, _ = listener.accept()
            first.recv(100)
            second, _ = listener.accept()
            second.sendall(first.recv(100))
            first.recv(1)
            first.close(), second.close()

        server = threading.Thread(target=serve)
        server.start()
        with Client(listener.getsockname()) as first, Client(listener.getsockname()) as second:
            admit([first, second])
            assert second.unread == b""
        server.join()

"""2.8 a pool of workers: a pre-forked server out of frames, workers and handed-over connections."""

import select
import socket
import struct
import time

import pytest

pytestmark = pytest.mark.exercise("2.8")
READ = "The pool"
PIECES = "; if 2.4, 2.5, 2.6 or 2.7 fails too, begin there"
PATIENCE_SECONDS = 3.0
KILLED = "workers that are killed: closing their channels lets them serve what they have in hand to its end"

HELPERS = """
import os, signal

def shout(request):
    if request == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    return b"%d " % os.getpid() + request.upper()

def run_pool(size, listener, control):
    return Pool(shout, size).serve(listener, control)
"""


class Running:
    """A Pool at work in the student's process, and the judge's clients of it."""

    def __init__(self, student, size):
        self.student = student
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.control, theirs = socket.socketpair()
        student.define(HELPERS)
        self.ended = False
        self.pending = student.start(
            "run_pool", size, self.listener, theirs, step=f"Pool(answer, {size}).serve(listener, control)"
        )
        theirs.close()

    def connect(self):
        """A new client."""
        return socket.create_connection(self.listener.getsockname())

    def exactly(self, client, size):
        """The next bytes for a client; None when its connection ends, or nothing comes for too long."""
        data = b""
        patience = time.monotonic() + min(self.student.remaining() - 0.5, PATIENCE_SECONDS * self.student.scale)
        while len(data) < size and time.monotonic() < patience:
            if not select.select([client], [], [], 0.05)[0]:
                self.must_serve()
                continue
            try:
                more = client.recv(size - len(data))
            except OSError:
                return None
            if not more:
                return None
            data += more
        return data if len(data) == size else None

    def must_serve(self):
        """Fail the check when serve has returned, or raised."""
        if self.pending.done and not self.ended:
            value = self.finish().value
            self.should(False, should="serve until control is readable", but=f"it returned {value!r} before that")

    def ask(self, client, who, mistake):
        """Send a random request as a frame. Returns the pid of the worker that answered; none: the check fails."""
        request = self.student.random.choice([b"ping", b"hello", b"are you there"])
        self.student.step(f"{who} asks {request!r}")
        try:
            client.sendall(struct.pack("!I", len(request)) + request)
        except OSError:
            pass  # the missing answer tells it
        prefix = self.exactly(client, 4)
        answer = self.exactly(client, min(struct.unpack("!I", prefix)[0], 100)) if prefix else None
        words = (answer or b"").split(b" ", 1)
        self.should(
            words[1:] == [request.upper()] and words[0].isdigit(),
            should=f"answer {who} with one frame",
            but=lambda: f"it received {answer or 'nothing'}; {self.student.audit().describe()}",
            mistake=mistake,
        )
        return int(words[0])

    def close_control(self):
        """Tell the pool to end."""
        self.student.step("close the other end of control")
        self.ended = True
        self.control.close()

    def end(self):
        """The pool's end, and what serve returns."""
        if not self.ended:
            self.close_control()
        return self.finish()

    def finish(self):
        """What became of serve."""
        call = self.pending.result(
            raises=True,
            hangs=f"a copy of a channel, or of a connection, is still open, so that a worker waits for its end{PIECES}",
            read="Who closes what",
        )
        self.should(call.exception is None, should="serve until control is readable", but=f"it raised {call.exception}")
        return call

    def should(self, ok, should, but="", mistake="", read=READ):
        """As student.should: but the mistake may also be in one of the pieces that the pool is made of."""
        self.student.should(ok, should=should, but=but, mistake=(mistake + PIECES).removeprefix("; "), read=read)


def test_connections_are_served_side_by_side(student):
    """Each connection has a worker of its own, which answers as often as it is asked."""
    pool = Running(student, 3)
    clients = [pool.connect() for _ in range(3)]
    pids = [pool.ask(client, f"client {n}", "no worker at work") for n, client in enumerate(clients, 1)]
    own = student.audit().student
    pool.should(
        len(set(pids)) == 3 and own not in pids,
        should="answer three connections that are open at once from three workers",
        but=f"processes {', '.join(map(str, pids))} answered; the pool's own is {own}",
        mistake="connections served by the parent, or several by one worker",
    )
    again = pool.ask(clients[0], "client 1", "one answer for each connection: a client may ask again until it closes")
    pool.should(again == pids[0], should="stay with one worker for a connection", but=f"process {again} answered")


def test_a_connection_waits_for_a_free_worker(student):
    """While all are busy a connection waits, and the first free worker takes it."""
    pool = Running(student, 3)
    clients = [pool.connect() for _ in range(3)]
    pids = [pool.ask(client, f"client {n}", "no worker at work") for n, client in enumerate(clients, 1)]
    late = pool.connect()
    chosen = student.random.randrange(1, 3)
    student.step(f"client 4 connects; client {chosen + 1} closes")
    clients[chosen].close()
    pid = pool.ask(
        late,
        "client 4",
        "a connection handed to a worker that is busy, or a worker that never tells that it is free again",
    )
    pool.should(
        pid == pids[chosen],
        should=f"let process {pids[chosen]} answer, the one that is free",
        but=f"process {pid} answered",
        mistake="more workers forked than were asked for",
    )


def test_a_dead_worker_costs_its_connection_only(student):
    """A worker that is killed is reaped and replaced, and the others go on."""
    pool = Running(student, 2)
    unlucky, lucky = pool.connect(), pool.connect()
    first, second = pool.ask(unlucky, "client 1", "no worker at work"), pool.ask(lucky, "client 2", "no worker at work")
    student.step(f"client 1's request kills process {first}")
    unlucky.sendall(struct.pack("!I", 3) + b"die")
    pool.should(
        pool.exactly(unlucky, 1) is None and not _still_open(unlucky),
        should="let client 1 see the end of its connection",
        but=lambda: f"it is still open; {student.audit().describe()}",
        mistake="a copy of the connection kept in the parent",
        read="Who closes what",
    )
    pool.should(
        pool.ask(lucky, "client 2", "a pool that ends with one of its workers") == second,
        should="leave client 2 to its worker",
        but="another process answered",
    )
    third = pool.ask(pool.connect(), "client 3", "a dead worker that is not replaced")
    lucky.close()
    call = pool.end()
    wanted = {first: -9, second: 0, third: 0}
    pool.should(
        call.value == wanted,
        should=f"return {wanted}: the status of every worker that there was",
        but=f"it returned {call.value!r}",
        mistake="a dead worker's status forgotten, or the living ended by a signal",
    )


def _still_open(client):
    """Whether a client's connection has not ended: nothing to read, yet."""
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def test_a_bad_client_costs_its_own_connection_only(student):
    """A frame too long, or a reset, ends that connection and no worker."""
    pool = Running(student, 1)
    good = pool.connect()
    pid = pool.ask(good, "client 1", "no worker at work")
    good.close()
    liar = pool.connect()
    student.step("client 2 announces a frame of 4294967295 bytes")
    liar.sendall(b"\xff\xff\xff\xff")
    student.receives_end(
        liar,
        should="close client 2's connection",
        mistake=f"a limit that is not enforced, or a copy of the connection kept in the parent{PIECES}",
        read="Three cures",
    )
    student.step("client 3 resets its connection")
    with pool.connect() as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pool.should(
        pool.ask(pool.connect(), "client 4", "a worker that does not come back from a bad client") == pid,
        should=f"go on with the same worker, process {pid}",
        but="another process answered",
        mistake="an exception about one client that ends the worker",
    )


def test_it_ends_by_closing(student):
    """At the end connections in hand are served to their end, and nothing is left."""
    pool = Running(student, 2)
    client = pool.connect()
    pid = pool.ask(client, "client 1", "no worker at work")
    pool.close_control()
    pool.ask(client, "client 1", KILLED)
    client.close()
    call = pool.end()
    pool.should(
        isinstance(call.value, dict) and len(call.value) == 2 and pid in call.value and set(call.value.values()) == {0},
        should="return {pid: 0} for both workers",
        but=f"it returned {call.value!r}",
        mistake=KILLED
        if "-" in repr(call.value)
        else "a worker that fails (EPIPE, ECONNRESET) when it tells a pool that is ending that it is free",
    )
    pool.should(
        not call.audit.children and not call.audit.opened,
        should="leave no process and no descriptor",
        but=lambda: f"{call.audit.describe(call.audit.children)}; left open: {', '.join(call.audit.opened.values())}",
        mistake="a worker not reaped, or a channel not closed",
        read="Who closes what",
    )

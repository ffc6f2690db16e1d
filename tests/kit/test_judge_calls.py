"""What a judge does with the student's code: calls, values both ways, sockets, limits, what the kernel saw."""

import pytest

from chatlab.judge import contain
from tests.kit import mini_course


def test_system_calls_are_seen(judged):
    checks = """
def test_calls(student):
    student.call("work", 1)
    pipes = student.syscalls("pipe2")
    student.should(len(pipes) == 2, should="make two pipes", but=f"it made {len(pipes)}")
    kinds = {d.kind for d in student.trace().descriptors}
    assert not [d for d in student.trace().descriptors if d.fd == 250], kinds
"""
    assert judged("import os\ndef work(n):\n    os.pipe(), os.pipe()\n", checks).verdict == "passed"


def test_an_injected_failure_is_certain(judged):
    checks = """
@pytest.mark.inject("clone", error="EAGAIN", when="2+")
def test_fails(student):
    call = student.call("work", 1, raises=True)
    student.should(call.exception and call.exception.errno == 11, should="raise EAGAIN", but=f"{call.exception}")
    student.should(call.exception.type == "BlockingIOError", should="x", but=f"{call.exception}")
"""
    code = "import os\ndef work(n):\n    for _ in range(2):\n        os.fork() or os._exit(0)\n        os.wait()\n"
    assert judged(code, checks).verdict == "passed"


def test_a_limit_holds(judged):
    checks = """
@pytest.mark.prlimit("NOFILE", 20)
def test_limit(student):
    student.should(student.call("work", 1).value == "EMFILE", should="be told")
"""
    # The judge's channel lies above the limit: it was there before.
    code = """
import os, errno

def work(n):
    try:
        while True:
            os.dup(0)
    except OSError as error:
        return errno.errorcode[error.errno]
"""
    assert judged(code, checks).verdict == "passed"


def test_values_travel_both_ways(judged):
    checks = r"""
VALUES = [None, True, 7, -2.5, "text \udc80", b"\0\xff", [1, [2]], (1, (b"x",)), {"a": 1, 2: (3,)}, {1, 2}]

def test_values(student):
    for value in VALUES:
        got = student.call("work", value).value
        assert got == value and type(got) is type(value), (got, value)
"""
    assert judged("def work(value): return value", checks).feedback == ""


def test_descriptors_travel_both_ways(judged):
    checks = """
import os, socket

def test_descriptors(student):
    ours, theirs = socket.socketpair()
    call = student.call("work", theirs, Fd(theirs.fileno()))
    kind, is_number = call.value
    assert (kind, is_number) == ("socket", True)
    assert ours.recv(10) == b"xy"
    back = student.call("give").value
    assert isinstance(back, socket.socket)
    number = student.call("give_number", returns_fd=True).value
    assert isinstance(number, Fd) and os.fstat(number.fileno())
    number.close()
    student.receives(ours, b"later") if student.call("say").value is None else None
"""
    code = """
import os, socket

def work(sock, number):
    global kept
    kept = sock
    sock.sendall(b"x")
    os.write(number, b"y")
    return type(sock).__name__, isinstance(number, int)

def give():
    return kept

def give_number():
    return kept.fileno()

def say():
    kept.sendall(b"later")
"""
    assert judged(code, checks).feedback == ""


def test_a_socket_that_only_the_answer_holds_arrives(judged):
    checks = """
def test_pair(student):
    ours, theirs = student.call("work").value
    ours.sendall(b"x")
    assert theirs.recv(1) == b"x"
"""
    assert judged("import socket\n\ndef work(): return socket.socketpair()\n", checks).feedback == ""


def test_objects_and_names(judged):
    checks = """
def test_objects(student):
    student.define("def double(n): return n * 2 + base")
    counter = student.new("Counter", 5)
    assert counter.call("add", 3).value == 8
    assert counter.get("total") == 8
    assert student.call("apply", Name("double"), 4).value == 108
    assert student.call("same", counter, counter).value is True
    assert student.get("base") == 100
"""
    code = """
base = 100
class Counter:
    def __init__(self, start): self.total = start
    def add(self, n):
        self.total += n
        return self.total
def apply(function, n): return function(n)
def same(a, b): return a is b and isinstance(a, Counter)
"""
    assert judged(code, checks).feedback == ""


def test_none_as_a_constant_is_not_started(judged):
    checks = "def test_lines(student):\n    student.get('LINES')\n"
    assert judged("LINES = None", checks).verdict == "not started"


def test_a_stub_that_is_started_is_not_started(judged):
    checks = """
def test_server(student):
    student.start("work", 1)
    student.until(lambda audit: audit.children, should="make a child")
"""
    verdict = judged(mini_course.STUBS, checks, deadline=60)
    assert verdict.verdict == "not started"
    assert verdict.seconds < 30


def test_an_exception_of_a_started_call_is_told_at_once(judged):
    checks = """
def test_server(student):
    student.start("work", 1)
    student.until(lambda audit: audit.children, should="make a child")
"""
    verdict = judged("def work(n): return missing", checks, deadline=60)
    assert "it raised NameError" in verdict.feedback
    assert verdict.seconds < 30


def test_a_running_call_can_be_talked_to(judged):
    checks = """

def test_server(student):
    ours, theirs = socket.socketpair()
    pending = student.start("work", theirs)
    student.until(lambda audit: audit.own.waits_in.startswith("recvfrom"), should="wait for data")
    assert not pending.done
    ours.sendall(b"abc")
    student.receives(ours, b"ABC")
    ours.shutdown(socket.SHUT_WR)
    assert pending.result().value == 3
    theirs.close()
"""
    code = """
def work(sock):
    total = 0
    while data := sock.recv(10):
        total += len(data)
        sock.sendall(data.upper())
    return total
"""
    assert judged(code, checks).feedback == ""


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("sock.sendall(b'abd')", "the client received b'abd'"),
        ("sock.sendall(b'ab'); sock.shutdown(2)", "the client received b'ab', then end of file"),
        ("sock.shutdown(2)", "the client received nothing, then end of file"),
        ("sock.sendall(b'ab'); sock.recv(1)", "the client received b'ab', and then nothing more; process"),
    ],
)
def test_what_a_client_receives_instead_is_said(judged, code, says):
    checks = """

def test_server(student):
    ours, theirs = socket.socketpair()
    student.start("work", theirs)
    theirs.close()
    student.receives(ours, b"abc", mistake="m")
"""
    assert says in judged(f"def work(sock):\n    {code}\n", checks, deadline=1.5).feedback


def test_the_end_of_file_that_does_not_come(judged):
    checks = """

def test_end(student):
    ours, theirs = socket.socketpair()
    student.call("work", theirs)
    theirs.close()
    student.receives_end(ours, mistake="a kept copy")
"""
    verdict = judged("def work(sock): pass\n", checks, deadline=1.5)
    assert "should  let the client see end of file" in verdict.feedback
    assert "the client still waits for it" in verdict.feedback


def test_output_is_what_the_whole_tree_wrote(judged):
    checks = """
def test_output(student):
    assert student.call("work").output == b"once\\ntwice\\ntwice\\n"
"""
    code = """
import os, sys
def work():
    print("once", flush=True)
    print("twice")
    if os.fork() == 0:
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""
    assert judged(code, checks).feedback == ""


def test_the_student_cannot_write_to_the_course(judged, monkeypatch):
    if contain.tier() != contain.BUBBLEWRAP:
        pytest.skip("only bubblewrap makes the course read-only")
    checks = """
def test_writes(student):
    call = student.call("work", str(student.exercise.root / "course.toml"), raises=True)
    student.should(call.exception and call.exception.errno == 30, should="be refused (EROFS)", but=f"{call.exception}")
"""
    assert judged("def work(path): open(path, 'a').write('x')\n", checks).feedback == ""


def test_each_check_has_a_process_of_its_own(judged):
    body = "    assert student.call('work').value == 1\n"
    checks = f"def test_a(student):\n{body}\ndef test_b(student):\n{body}"
    code = "count = 0\ndef work():\n    global count\n    count += 1\n    return count\n"
    assert judged(code, checks).verdict == "passed"


RECEIVES = """
def work(sock):
    first = sock.recv(100)
    return first, sock.recv(100)
"""


def test_what_happens_while_it_is_frozen_is_all_there_at_its_next_look(judged):
    checks = """
def test_frozen(student):
    ours, theirs = socket.socketpair()
    pending = student.start("work", theirs)
    student.sleeps(should="wait for data")
    with student.frozen():
        student.should(student.audit().own.state in "Tt", should="be stopped")
        ours.sendall(b"a")
        ours.sendall(b"b")
    ours.shutdown(socket.SHUT_WR)
    student.should(pending.result().value == (b"ab", b""), should="see it all at once")
    theirs.close()
"""
    assert judged(RECEIVES, checks).verdict == "passed"


def test_it_runs_on_after_a_check_that_fails_while_it_is_frozen(judged):
    checks = """
def test_frozen(student):
    ours, theirs = socket.socketpair()
    student.start("work", theirs)
    with student.frozen():
        student.should(False, should="fail")
"""
    verdict = judged(RECEIVES, checks)
    assert verdict.verdict == "failed"
    assert "should  fail" in verdict.feedback


def test_a_loop_that_spins_does_not_sleep(judged):
    checks = """
def test_sleeps(student):
    pending = student.start("work", 1)
    student.sleeps(should="sleep between two looks", mistake="a timeout of 0")
"""
    code = "import select\ndef work(n):\n    poll = select.poll()\n    while True:\n        poll.poll(0)\n"
    verdict = judged(code, checks, deadline=60)
    assert verdict.verdict == "out of time"
    assert verdict.seconds < 30
    assert "sleep between two looks" in verdict.feedback
    assert "a timeout of 0" in verdict.feedback


@pytest.mark.parametrize(("milliseconds", "expected"), [(20, "failed"), (2000, "passed")])
def test_a_loop_that_ticks_wakes_up_too_often(judged, milliseconds, expected):
    checks = """
def test_sleeps(student):
    student.start("work", 1)
    student.sleeps(should="sleep until there is something to do", mistake="a timeout", most_wake_ups=3)
"""
    code = (
        f"import select\ndef work(n):\n    poll = select.poll()\n    while True:\n        poll.poll({milliseconds})\n"
    )
    verdict = judged(code, checks, deadline=60)
    assert verdict.verdict == expected
    assert ("times in 0.25 s" in verdict.feedback) == (expected == "failed")

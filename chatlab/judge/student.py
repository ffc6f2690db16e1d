"""The student's code as a judge sees it: calls into another process, and what the kernel says of that process.

A check is a test function with the `student` fixture; `docs/kit.md` shows one. Whatever goes wrong on the student's
side becomes an Outcome with feedback; whatever goes wrong in a check itself is the judge's fault.
"""

import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from chatlab.judge import verdicts, wire, words
from chatlab.judge.audit import Audit
from chatlab.judge.host import CHANNEL_CLOSED_STATUS
from chatlab.judge.process import StudentProcess
from chatlab.judge.verdicts import Feedback, Outcome
from chatlab.judge.words import Complaint, RaisedException, short
from chatlab.launch.program import scale
from chatlab.launch.tree import TreeGone

SPIN_LOOKS = 5
SPIN_LOOK_SECONDS = 0.01
RAN_ON_SECONDS = 0.05
UNTIL_EVERY_SECONDS = 0.004
LEAST_LOOKS = 50
ASLEEP_LOOKS = 8
ASLEEP_SECONDS = 2.0
IDLE_SECONDS = 0.25
IDLE_LOOKS = 3  # what is still on its way wakes a process in one look; a loop that spins or ticks is seen in each
WAITING = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6", "recvfrom", "recvmsg")


@dataclass(frozen=True)
class Call:
    """What became of one call into the student's code.

    value: what it returned. exception: what it raised, or None. output, errors: bytes that the whole tree wrote to
    standard output and error meanwhile. audit: the tree after the call, compared with before. unclosed: sockets and
    files that the interpreter had to close (ResourceWarning). seconds: how long it took.
    """

    value: object
    exception: RaisedException | None
    output: bytes
    errors: bytes
    audit: Audit
    unclosed: tuple[str, ...]
    seconds: float


class Remote:
    """An object that lives in the student's process, such as an instance of her class."""

    def __init__(self, student: "Student", number: int, text: str):
        self._student = student
        self.number = number
        self.text = text

    def call(self, method: str, *args, **options) -> Call:
        """Call a method of it: as `Student.call`."""
        return self._student.call(method, *args, on=self, **options)

    def start(self, method: str, *args, **options) -> "Pending":
        """Start a method of it: as `Student.start`."""
        return self._student.start(method, *args, on=self, **options)

    def get(self, attribute: str):
        """The value of an attribute of it."""
        return self._student._value("get", attribute, self)

    def __repr__(self) -> str:
        return self.text or f"object {self.number}"


class Pending:
    """A call that runs. `result` waits for its end."""

    def __init__(self, student: "Student", before: Audit):
        self._student = student
        self._before = before
        self._began = time.monotonic()

    @property
    def done(self) -> bool:
        """Whether it has returned or raised (the answer may still be on its way)."""
        return bool(self._student._arrived) or self._student._process.readable(0)

    def result(self, hangs: str = "", raises: bool = False, read: str = "", timeout: float | None = None) -> Call:
        """Wait for the call's end: options as for `Student.call`."""
        return self._student._finish(self, hangs, raises, read, timeout)


class Student:
    """The fixture of every check: one process with one exercises.py in it, its supervisor, and the steps so far.

    Arguments: exercise, from course.toml; title of the check; work, the folder that holds NN_topic/exercises.py; seed
    for `random`; inject and limits from the check's marks. It runs under strace where that is there.
    """

    def __init__(self, exercise, title: str, work: Path, *, seed: int, inject=(), limits=()):
        self.exercise = exercise
        self.title = title
        self.work = work
        self.seed = seed
        self.random = random.Random(seed)
        self.scale = scale()
        self.steps: list[str] = []
        self._process = StudentProcess(
            exercise, (work / exercise.lab.folder / "exercises.py").resolve(), inject, dict(limits)
        )
        self._deadline = 0.0
        self._last_audit: Audit | None = None
        self._failing = False
        self._arrived: list[tuple[dict, list[int]]] = []  # what came over the channel, looked at but not yet used

    @property
    def scratch(self) -> Path:
        """A folder that the student's process sees too, as its current directory."""
        return self._process.scratch

    @property
    def ended(self) -> float:
        """When the judge ended the process (unix time, s): what came later in its trace was the judge's doing."""
        return self._process.ended

    def _begin(self) -> None:
        """Start the student's process and load exercises.py; a second call does nothing."""
        if self._process.tree is not None:
            return
        self._deadline = time.monotonic() + self.exercise.deadline * self.scale
        if self._process.lacks_strace():
            self._not_checked("a system call made to fail for certain")
        self._process.start()
        path = self._process.path
        if not path.is_file():
            self._complain(words.no_file(path.parent))
        message, _ = self._receive(hangs="code at the top level of exercises.py that does not end")
        if not message.get("loaded"):
            self._complain(words.does_not_load(RaisedException.of(message)))

    # calls

    def call(self, name: str, *args, step: str | None = None, **options) -> Call:
        """Call a function of the exercises and wait for its end.

        Arguments: name and args, plain data, sockets, `Fd`, `Name` or `Remote`; step, the words for the feedback
        (default: the call itself); hangs, the likely mistake when it does not return before the deadline; raises=True
        when an exception is an answer too; returns_fd=True when the int that it returns is a descriptor; timeout in
        seconds, scaled; read, a heading of the handout; on, a Remote whose method is meant.
        Returns a Call. Raises Outcome when it hangs, raises, crashes, or a child of it runs on into its caller's code.
        """
        later = {key: options.pop(key) for key in ("hangs", "raises", "read", "timeout") if key in options}
        return self.start(name, *args, step=step, **options).result(**later)

    def start(self, name: str, *args, step: str | None = None, on: Remote | None = None, returns_fd=False) -> Pending:
        """Start a call and come back at once, to talk to its sockets meanwhile. Arguments as for `call`."""
        self._begin()
        shown = ", ".join(short(argument) for argument in args)
        owner = f"{on.text or 'object'}." if on else ""
        self.steps.append(step or f"{owner}{name}({shown})")
        return self._launch("call", name, args, on, returns_fd)

    def _launch(self, do: str, name: str, args, on: Remote | None, returns_fd: bool = False) -> Pending:
        descriptors: list[int] = []
        plain = [wire.RemoteNumber(arg.number) if isinstance(arg, Remote) else arg for arg in args]
        command = {
            "do": do,
            "name": name,
            "args": [wire.encode(argument, descriptors) for argument in plain],
            "remote": on.number if on else None,
            "returns_fd": returns_fd,
        }
        self._send(command, descriptors)
        message, _ = self._receive()
        if not message.get("ready"):
            self._complain(words.missing(name, RaisedException.of(message)))
        before = self._audit(None)
        self._process.read_output()
        self._send({"go": True})
        return Pending(self, before)

    def _finish(self, pending: Pending, hangs: str, raises: bool, read: str, timeout: float | None) -> Call:
        message, descriptors = self._receive(hangs=hangs, read=read, timeout=timeout)
        seconds = time.monotonic() - pending._began
        error = RaisedException.of(message)
        value = None if error else self._decode(message.get("value"), descriptors)
        audit = self._audit(pending._before)
        output = self._process.read_output()
        if error is not None:
            self._judge_exception(error, raises, read)
        return Call(value, error, output["out"], output["err"], audit, tuple(message.get("unclosed", ())), seconds)

    def new(self, class_name: str, *args, **options) -> Remote:
        """An instance of a class of the exercises. Raises Outcome as `call` does."""
        value = self.call(class_name, *args, **options).value
        self.should(
            isinstance(value, Remote),
            should=f"make an object: {class_name}(…)",
            but=f"it gave {value!r}",
        )
        value.text = class_name
        return value

    def get(self, name: str):
        """The value of a constant of the exercises; None counts as not started."""
        self._begin()
        self.steps.append(f"look at {name}")
        value = self._value("get", name, None)
        if value is None:
            self._not_started()
        return value

    def _value(self, do: str, name: str, on: Remote | None):
        pending = self._launch(do, name, (), on)
        return self._finish(pending, "", False, "", None).value

    def define(self, source: str) -> None:
        """Run helper source of the judge in the student's process; it sees the exercises' names, and adds to them."""
        self._begin()
        pending = self._launch("define", "", (source,), None)
        message, _ = self._receive()
        del pending
        if message.get("exception"):
            raise RuntimeError(f"the judge's helpers do not load: {RaisedException.of(message)}")

    # what the kernel says

    def audit(self) -> Audit:
        """The student's process tree now, compared with before the last call."""
        self._begin()
        return self._audit(self._last_audit)

    def _audit(self, before: Audit | None) -> Audit:
        try:
            audit, parent_hurt = self._process.audit(before)
        except TreeGone:
            self._gone()
        self._violations(parent_hurt)
        if before is None:
            self._last_audit = audit
        return audit

    def until(
        self,
        condition: Callable[[Audit], bool],
        *,
        should: str,
        but="",
        mistake: str = "",
        read: str = "",
        timeout: float | None = None,
    ) -> Audit:
        """Audit again and again until condition(audit) holds; fails the check when the deadline comes first.

        but: text, or a function of the last audit that gives it; default: what every process does. timeout (seconds,
        scaled) comes before the deadline, but not before LEAST_LOOKS looks: a busy machine may need seconds for them.
        """
        end = float("inf") if timeout is None else time.monotonic() + timeout * self.scale
        looks = 0
        while True:
            audit = self.audit()
            looks += 1
            if condition(audit):
                return audit
            error = self._peek()
            if error is not None:
                self._complain(Complaint(should, f"it raised {error}", read=read))
            if self.remaining() <= 0 or (time.monotonic() > end and looks >= LEAST_LOOKS):
                said = but(audit) if callable(but) else but or audit.describe()
                self._complain(Complaint(should, said, self._or_loop(mistake), read, verdicts.OUT_OF_TIME))
            time.sleep(UNTIL_EVERY_SECONDS)

    def sleeps(self, *, should: str, mistake: str = "", read: str = "", most_wake_ups: int | None = None) -> Audit:
        """The student's process must come to sleep: it sleeps at each of many looks in a row. Fails the check if not.

        A loop that spins is caught running by some look, also when it sleeps for a moment in each turn. most_wake_ups:
        so many calls that wait may come back in IDLE_SECONDS; more are a loop that ticks. That needs the trace.
        """
        looks: list[bool] = []

        def asleep(audit: Audit) -> bool:
            looks.append(audit.own is not None and audit.own.state == "S")
            return looks[-ASLEEP_LOOKS:] == [True] * ASLEEP_LOOKS

        audit = self.until(asleep, should=should, mistake=mistake, read=read, timeout=ASLEEP_SECONDS)
        woken = 0
        for _ in range(IDLE_LOOKS if most_wake_ups is not None else 0):
            before = len(self.syscalls(*WAITING))
            time.sleep(IDLE_SECONDS)
            woken = len(self.syscalls(*WAITING)) - before
            if woken <= most_wake_ups:
                break
        self.should(
            most_wake_ups is None or woken <= most_wake_ups,
            should=should,
            but=f"it woke up {woken} times in {IDLE_SECONDS} s",
            mistake=mistake,
            read=read,
        )
        return audit

    @contextmanager
    def frozen(self, pid: int | None = None) -> Iterator[None]:
        """What the judge does in the block is all there when the student's process looks next: it is stopped meanwhile.

        pid: another process of her tree, as an audit numbers it. Source: signal(7), SIGSTOP and SIGCONT.
        """
        self._begin()
        tree = self._process.tree
        pid = pid or self.audit().student
        tree.signal(signal.SIGSTOP, pid)
        try:
            self.until(
                lambda audit: pid not in audit.processes or audit.processes[pid].state in "TtZX",
                should=f"stop, since process {pid} was sent SIGSTOP",
            )
            yield
        finally:
            with suppress(TreeGone):
                tree.signal(signal.SIGCONT, pid)

    def trace(self):
        """A `chatlab.trace.Trace` of the student's process and its children so far, without the judge's channel.

        Raises Outcome "not checked" where strace is missing.
        """
        self._begin()
        if not self._process.traced:
            self._not_checked("system calls")
        return self._process.trace()

    def syscalls(self, *names: str) -> list:
        """The traced calls of these names, such as "splice". Raises Outcome "not checked" without strace."""
        return self.trace().named(*names)

    def remaining(self) -> float:
        """Seconds until the check's deadline."""
        return self._deadline - time.monotonic()

    # sockets of the judge's own

    def receives(self, sock: socket.socket, expected: bytes, *, should="", mistake="", read="") -> None:
        """A client of the judge must receive exactly these bytes next; else the check fails."""
        got = bytearray()
        problem = ""
        while len(got) < len(expected) and not problem:
            problem = self._receive_some(sock, got, len(expected) - len(got))
        wanted = should or f"send {short(expected)} to the client"
        but = f"the client received {short(bytes(got)) if got else 'nothing'}{problem}"
        if problem == _NOTHING_MORE:
            self._complain(Complaint(wanted, f"{but}; {self._now()}", mistake, read, verdicts.OUT_OF_TIME))
        self.should(bytes(got) == expected, should=wanted, but=but, mistake=mistake, read=read)

    def receives_end(self, sock: socket.socket, *, should="", mistake="", read="") -> None:
        """A client of the judge must see end of file next; else the check fails."""
        got = bytearray()
        problem = ""
        while not problem and len(got) < 4096:
            problem = self._receive_some(sock, got, 4096)
        wanted = should or "let the client see end of file"
        if problem == _NOTHING_MORE:
            but = f"the client still waits for it; {self._now()}"
            self._complain(Complaint(wanted, but, mistake, read))
        but = f"the client received {short(bytes(got))}{problem}" if got else f"the client saw something else{problem}"
        self.should(problem == _END and not got, should=wanted, but=but, mistake=mistake, read=read)

    def _receive_some(self, sock: socket.socket, got: bytearray, most: int) -> str:
        """Receive once; returns what is wrong, or an empty text."""
        sock.settimeout(max(self.remaining(), 0.05))
        try:
            chunk = sock.recv(most)
        except TimeoutError:
            return _NOTHING_MORE
        except OSError as error:
            return f", then {error.strerror}"
        got += chunk
        return "" if chunk else _END

    def _now(self) -> str:
        return self.audit().describe()

    # what is said

    def step(self, text: str) -> None:
        """Add a numbered step to the feedback."""
        self.steps.append(text)

    def should(self, ok, should: str, but="", mistake: str = "", read: str = "") -> None:
        """Fail the check unless ok. but may be a function without arguments, called only on failure."""
        if not ok:
            self._complain(Complaint(should, but() if callable(but) else but, mistake, read))

    def _complain(self, complaint: Complaint) -> None:
        but, mistake = complaint.but, complaint.mistake
        hides_a_cause = complaint.verdict in (verdicts.FAILED, verdicts.OUT_OF_TIME)
        if hides_a_cause and not self._failing and self._process.tree is not None:
            # A child that ran on, or an exception, explains more than what it caused; it may come a moment too late.
            self._failing = True
            error = self._peek(RAN_ON_SECONDS)
            if error is not None:
                but, mistake = f"it raised {error}", ""
        handout = self.exercise.lab.handout
        raise Outcome(
            complaint.verdict,
            Feedback(
                f"{self.exercise.id} {self.exercise.title}: {self.title}",
                list(self.steps),
                complaint.should,
                but,
                mistake,
                f'{handout}, "{complaint.read}"' if complaint.read else handout,
                f"make why EX={self.exercise.id}" if self._process.traced and self.steps else "",
                f"CHATLAB_SEED={self.seed} make check-{self.exercise.id}",
                self._process.last_words(),
            ),
            whole_lab=complaint.whole_lab,
        )

    def _not_started(self) -> None:
        raise Outcome(verdicts.NOT_STARTED, Feedback(f"exercise {self.exercise.id} is not started"))

    def _not_checked(self, what: str) -> None:
        headline = (
            f"{self.exercise.id} {self.exercise.title}: {self.title}: not checked: it needs strace ({what});"
            " `make doctor` tells how to install it"
        )
        raise Outcome(verdicts.NOT_CHECKED, Feedback(headline))

    def _decode(self, value, descriptors: list[int]):
        try:
            return wire.decode(value, descriptors, remote=lambda number, text: Remote(self, number, text))
        except (wire.WireError, RecursionError) as error:
            self._complain(words.tampered(str(error)))

    # the channel

    def _send(self, message: dict, descriptors: list[int] | None = None) -> None:
        try:
            self._process.send(message, descriptors or [], self.remaining())
        except TimeoutError:
            self._hung("", "", None)
        except OSError:
            self._gone()

    def _peek(self, timeout: float = 0.0) -> RaisedException | None:
        """Look at what came over the channel meanwhile, and leave it for `_receive`. A stub's answer ends the check.

        Returns the exception that the running call has ended with, if it has.
        """
        if not self._arrived and self._process.readable(timeout):
            self._arrived.append(self._receive())
        error = RaisedException.of(self._arrived[0][0]) if self._arrived else None
        if error is not None and self._is_stub(error):
            self._not_started()
        return error

    def _judge_exception(self, error: RaisedException, raises: bool, read: str) -> None:
        """Fail the check for an exception, unless it is an answer too (raises); a stub's ends the check."""
        if self._is_stub(error):
            self._not_started()
        if not raises or error.type == "NotImplementedError":
            self._complain(words.raised(error, read))

    def _is_stub(self, error: RaisedException) -> bool:
        return error.type == "NotImplementedError" and error.message == f"exercise {self.exercise.id} is not started"

    def _receive(self, hangs: str = "", read: str = "", timeout: float | None = None) -> tuple[dict, list[int]]:
        if self._arrived:
            return self._arrived.pop(0)
        limit = self.remaining() if timeout is None else min(timeout * self.scale, self.remaining())
        try:
            received = self._process.receive(limit)
        except TimeoutError:
            self._hung(hangs, read, timeout)
        except wire.WireError as error:
            self._complain(words.tampered(str(error)))
        except OSError:
            received = None
        if received is None:
            self._gone()
        if "ran_on" in received[0]:
            self._complain(words.ran_on(received[0]["ran_on"], RaisedException.of(received[0])))
        return received

    def settle(self) -> None:
        """After a check: fail it for what came to light late, such as a child that ran on into its caller's code."""
        if self._process.tree is None:
            return
        if self._process.readable(0):
            self._receive()
        if not self._process.tree.gone:
            self._audit(None)

    def _hung(self, hangs: str, read: str, timeout: float | None) -> None:
        self._violations()
        seconds = (timeout or self.exercise.deadline) * self.scale
        doing = self.audit().describe()
        self._complain(words.hung(seconds, doing, self._or_loop(hangs), read))

    def _or_loop(self, mistake: str) -> str:
        """The likely mistake when time is up: with the endless loop before it when the process never sleeps."""
        return words.or_endless_loop(mistake) if self._spins() else mistake

    def _spins(self) -> bool:
        """Whether the student's process runs each time that it is looked at: a process that waits sleeps at most."""
        for _ in range(SPIN_LOOKS):
            own = self.audit().own
            if own is None or own.state not in "Rt":
                return False
            time.sleep(SPIN_LOOK_SECONDS)
        return True

    def _violations(self, parent_hurt: bool = False) -> None:
        """Fail the check for what student code must not do, whatever the exercise is."""
        tree = self._process.tree
        if tree.too_many is not None:
            self._complain(words.too_many(tree.too_many))
        if tree.parent_killed or parent_hurt:
            self._complain(words.hurt_its_parent())

    def _gone(self) -> None:
        """The channel has ended: say what became of the student's process."""
        tree = self._process.tree
        tree.wait_for(lambda: tree.status is not None or tree.gone or tree.parent_killed, 1.0)
        self._violations()
        if tree.status is not None and os.waitstatus_to_exitcode(tree.status) == CHANNEL_CLOSED_STATUS:
            self._complain(words.closed_the_channel())
        self._complain(words.ended(tree.status))

    # the end

    def end(self) -> None:
        """End the student's whole process tree. Its trace stays until `clear`."""
        self._process.end()

    def keep_trace(self, target: Path) -> bool:
        """Copy the trace to the path target; False when there is none."""
        return self._process.keep_trace(target)

    def clear(self) -> None:
        """Remove everything that the check left on disk."""
        self._process.clear()


_NOTHING_MORE = ", and then nothing more"
_END = ", then end of file"

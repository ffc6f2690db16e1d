"""The student's code as a judge sees it: calls into another process, and what the kernel says of that process.

A check is a test function with the `student` fixture; `docs/kit.md` shows one. Whatever goes wrong on the student's
side becomes an Outcome with feedback; whatever goes wrong in a check itself is the judge's fault.
"""

import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chatlab.judge import contain, verdicts, wire
from chatlab.judge.audit import Audit
from chatlab.judge.host import CHANNEL_CLOSED_STATUS
from chatlab.judge.verdicts import Feedback, Outcome
from chatlab.launch.program import clean_environment, describe_status, scale
from chatlab.launch.tree import Tree, TreeGone

HOST = Path(__file__).with_name("host.py")
CHANNEL_DESCRIPTOR = 250
MAX_PROCESSES = 300
MAX_FILE_BYTES = 64 * 1024 * 1024
LARGEST_TRACE_FOR_NAMES = 2_000_000  # bytes; a loop that makes calls without end writes more than is read in time
ENDLESS_LOOP = "an endless loop: it never waits for anything"
SPIN_LOOKS = 5
SPIN_LOOK_SECONDS = 0.01
RAN_ON_SECONDS = 0.05
UNTIL_EVERY_SECONDS = 0.004
FORKING_CALLS = "clone,clone3,fork,vfork"


@dataclass(frozen=True)
class RaisedException:
    """An exception that the student's code raised. line is in exercises.py; errno only for an OSError."""

    type: str
    bases: tuple[str, ...]
    message: str
    errno: int | None
    line: int | None
    source: str = ""

    def __str__(self) -> str:
        where = f" at line {self.line} of exercises.py" if self.line else ""
        where += f": {self.source}" if self.source else ""
        return f"{self.type}{': ' if self.message else ''}{self.message}{where}"


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
        return bool(self._student._arrived) or self._student._readable(0)

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
        self.ended = 0.0  # unix time, s: what its processes did later was the judge's doing
        self._inject = list(inject)
        self._limits = dict(limits)
        self._deadline = 0.0
        self._tree: Tree | None = None
        self._read_so_far = {"out": 0, "err": 0}
        self._last_audit: Audit | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="chatlab-judge-"))
        self.scratch = self._folder / "scratch"
        self.scratch.mkdir()
        self._strace_file = self._folder / "trace" / "strace"
        self._strace_file.parent.mkdir()
        self.traced = False
        self._failing = False
        self._arrived: list[tuple[dict, list[int]]] = []  # what came over the channel, looked at but not yet used

    # the process

    def _begin(self) -> None:
        """Start the student's process and load exercises.py; a second call does nothing."""
        if self._tree is not None:
            return
        self._deadline = time.monotonic() + self.exercise.deadline * self.scale
        mine, theirs = socket.socketpair()
        self._channel = wire.Channel(mine)
        root = self.exercise.root
        path = (self.work / self.exercise.lab.folder / "exercises.py").resolve()
        tracer = self._strace_prefix()
        self.traced = bool(tracer)
        argv = [sys.executable, "-I", "-S", "-B", str(HOST), str(CHANNEL_DESCRIPTOR), str(path), *self._folders()]
        output = [
            os.open(self._folder / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600) for name in ("out", "err")
        ]
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            self._tree = Tree(
                [*tracer, *argv],
                env=clean_environment({"HOME": str(self.scratch), "LC_ALL": "C.UTF-8"}),
                cwd=self.scratch,
                descriptors={0: null, 1: output[0], 2: output[1], CHANNEL_DESCRIPTOR: theirs.fileno()},
                limits={"CORE": 0, "FSIZE": MAX_FILE_BYTES, **self._limits},
                max_processes=MAX_PROCESSES,
                tracer="strace" if tracer else None,
                decoy=True,
                prefix=contain.prefix(
                    [root, Path(__file__).parents[2], path.parent], [self.scratch, self._strace_file.parent]
                ),
            )
        finally:
            for descriptor in (*output, null):
                os.close(descriptor)
            theirs.close()
        if not self._tree.started():
            raise RuntimeError(f"the student's process did not start: {self._tree.failure or 'its supervisor ended'}")
        self._check_loaded(path)

    def _folders(self) -> list[str]:
        """Where the student's code may import from: her folder comes first, then the lab's and those before it."""
        labs = self.exercise.root / "labs"
        number = self.exercise.lab.folder[:2]
        earlier = sorted((folder.name for folder in labs.iterdir() if folder.name[:2] <= number), reverse=True)
        return [str(labs / name) for name in earlier if (labs / name).is_dir()]

    def _strace_prefix(self) -> list[str]:
        from chatlab.trace import strace

        extra = []
        for call, error, when in self._inject:
            calls = FORKING_CALLS if call in FORKING_CALLS.split(",") else call
            extra += ["-e", f"inject={calls}:error={error}:when={when}"]
        prefix = strace.command(self._strace_file, extra=extra)
        if prefix is None and self._inject:
            self._not_checked("a system call made to fail for certain")
        return list(prefix or [])

    def _check_loaded(self, path: Path) -> None:
        if not path.is_file():
            self._fail(verdicts.FAILED, should=f"have an exercises.py in {path.parent}", but="there is none")
        message, _ = self._receive(hangs="code at the top level of exercises.py that does not end")
        if not message.get("loaded"):
            error = _exception(message)
            self._fail(
                verdicts.FAILED,
                should="be a file that Python can load",
                but=f"loading it raised {error}",
                mistake="a mistake in the file itself: no exercise in it can be judged until it loads",
                whole_lab=True,
            )

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
        shown = ", ".join(_short(argument) for argument in args)
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
            self._missing(name, _exception(message))
        before = self._audit(None)
        self._read_output()
        self._send({"go": True})
        return Pending(self, before)

    def _finish(self, pending: Pending, hangs: str, raises: bool, read: str, timeout: float | None) -> Call:
        message, descriptors = self._receive(hangs=hangs, read=read, timeout=timeout)
        seconds = time.monotonic() - pending._began
        error = _exception(message)
        value = None if error else self._decode(message.get("value"), descriptors)
        audit = self._audit(pending._before)
        output = self._read_output()
        if error is not None:
            self._raised(error, raises, read)
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
            raise RuntimeError(f"the judge's helpers do not load: {_exception(message)}")

    # what the kernel says

    def audit(self) -> Audit:
        """The student's process tree now, compared with before the last call."""
        self._begin()
        return self._audit(self._last_audit)

    def _audit(self, before: Audit | None) -> Audit:
        try:
            event = self._tree.audit()
        except TreeGone:
            self._gone()
        self._violations(event["parent_hurt"])
        audit = Audit.from_supervisor(event, CHANNEL_DESCRIPTOR, before, self._named)
        if before is None:
            self._last_audit = audit
        return audit

    def _named(self, pid: int, descriptor: int, text: str) -> str:
        """A descriptor's name for people, from the trace."""
        if not self.traced or self._strace_file.stat().st_size > LARGEST_TRACE_FOR_NAMES:
            return text
        try:
            found = [d for d in self.trace().descriptors if (d.pid, d.fd) == (pid, descriptor) and d.closed is None]
        except (OSError, ValueError):
            return text
        return found[-1].name if found else text

    def until(
        self, condition: Callable[[Audit], bool], *, should: str, but="", mistake: str = "", read: str = ""
    ) -> Audit:
        """Audit again and again until condition(audit) holds; fails the check when the deadline comes first.

        but: text, or a function of the last audit that gives it; default: what every process does.
        """
        while True:
            audit = self.audit()
            if condition(audit):
                return audit
            error = self._peek()
            if error is not None:
                self._fail(verdicts.FAILED, should=should, but=f"it raised {error}", read=read)
            if self.remaining() <= 0:
                said = but(audit) if callable(but) else but or audit.describe()
                self._fail(verdicts.OUT_OF_TIME, should=should, but=said, mistake=self._or_loop(mistake), read=read)
            time.sleep(UNTIL_EVERY_SECONDS)

    def trace(self):
        """A `chatlab.trace.Trace` of the student's process and its children so far, without the judge's channel.

        Raises Outcome "not checked" where strace is missing.
        """
        from chatlab.trace import Trace

        self._begin()
        if not self.traced:
            self._not_checked("system calls")
        return Trace.read(self._strace_file).without(fds={CHANNEL_DESCRIPTOR})

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
        wanted = should or f"send {_short(expected)} to the client"
        but = f"the client received {_short(bytes(got)) if got else 'nothing'}{problem}"
        if problem == _NOTHING_MORE:
            self._fail(verdicts.OUT_OF_TIME, should=wanted, but=f"{but}; {self._now()}", mistake=mistake, read=read)
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
            self._fail(verdicts.FAILED, should=wanted, but=but, mistake=mistake, read=read)
        but = f"the client received {_short(bytes(got))}{problem}" if got else f"the client saw something else{problem}"
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

    def step(self, words: str) -> None:
        """Add a numbered step to the feedback."""
        self.steps.append(words)

    def should(self, ok, should: str, but="", mistake: str = "", read: str = "") -> None:
        """Fail the check unless ok. but may be a function without arguments, called only on failure."""
        if not ok:
            said = but() if callable(but) else but
            self._fail(verdicts.FAILED, should=should, but=said, mistake=mistake, read=read)

    def _fail(self, verdict: str, *, should="", but="", mistake="", read="", whole_lab: bool = False) -> None:
        handout = self.exercise.lab.handout
        if verdict in (verdicts.FAILED, verdicts.OUT_OF_TIME) and not self._failing and self._tree is not None:
            # A child that ran on, or an exception, explains more than what it caused; it may come a moment too late.
            self._failing = True
            error = self._peek(RAN_ON_SECONDS)
            if error is not None:
                but, mistake = f"it raised {error}", ""
        raise Outcome(
            verdict,
            Feedback(
                f"{self.exercise.id} {self.exercise.title}: {self.title}",
                list(self.steps),
                should,
                but,
                mistake,
                f'{handout}, "{read}"' if read else handout,
                f"make why EX={self.exercise.id}" if self.traced and self.steps else "",
                f"CHATLAB_SEED={self.seed} make check-{self.exercise.id}",
                self._last_words(),
            ),
            whole_lab=whole_lab,
        )

    def _last_words(self) -> str:
        """The last line that the student's processes wrote to standard error, if any."""
        try:
            text = (self._folder / "err").read_bytes()[-4000:].decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""

    def _plain(self, verdict: str, headline: str) -> None:
        raise Outcome(verdict, Feedback(headline))

    def _not_started(self) -> None:
        self._plain(verdicts.NOT_STARTED, f"exercise {self.exercise.id} is not started")

    def _not_checked(self, what: str) -> None:
        self._plain(
            verdicts.NOT_CHECKED,
            f"{self.exercise.id} {self.exercise.title}: {self.title}: not checked: it needs strace ({what});"
            " `make doctor` tells how to install it",
        )

    def _missing(self, name: str, error: RaisedException | None) -> None:
        self._fail(
            verdicts.FAILED,
            should=f"define {name} in exercises.py",
            but=f"there is no {name}" if error and error.type in ("KeyError", "AttributeError") else f"{error}",
            mistake="a name deleted or misspelt",
        )

    def _raised(self, error: RaisedException, raises: bool, read: str) -> None:
        if self._is_stub(error):
            self._not_started()
        if raises and error.type != "NotImplementedError":
            return
        self._fail(verdicts.FAILED, should="return", but=f"it raised {error}", read=read)

    def _ran_on(self, pid: int, error: RaisedException | None) -> None:
        if error is not None:
            self._fail(
                verdicts.FAILED,
                should="keep its child inside: a child leaves by os._exit, whatever happens in it",
                but=f"in its child, process {pid}, it was left by {error}",
                mistake="a child that leaves its function by an exception: it runs on into its caller's code",
            )
        self._fail(
            verdicts.FAILED,
            should="return once, in the process that called it",
            but=f"it returned a second time, in its child, process {pid}",
            mistake="a child that runs on into its caller's code",
        )

    def _decode(self, value, descriptors: list[int]):
        try:
            return wire.decode(value, descriptors, remote=lambda number, text: Remote(self, number, text))
        except (wire.WireError, RecursionError) as error:
            self._tampered(str(error))

    def _tampered(self, why: str) -> None:
        self._fail(
            verdicts.TAMPERED,
            should=f"leave the judge's channel (descriptor {CHANNEL_DESCRIPTOR}) alone",
            but=f"something else came over it: {why}",
        )

    # the channel

    def _send(self, message: dict, descriptors: list[int] = ()) -> None:
        try:
            self._channel.sock.settimeout(max(self.remaining(), 0.05))
            self._channel.send(message, list(descriptors))
        except TimeoutError:
            self._hung("", "", None)
        except OSError:
            self._gone()

    def _readable(self, timeout: float) -> bool:
        import select

        return bool(select.select([self._channel.sock], [], [], max(timeout, 0))[0])

    def _peek(self, timeout: float = 0.0) -> RaisedException | None:
        """Look at what came over the channel meanwhile, and leave it for `_receive`. A stub's answer ends the check.

        Returns the exception that the running call has ended with, if it has.
        """
        if not self._arrived and self._readable(timeout):
            self._arrived.append(self._receive())
        error = _exception(self._arrived[0][0]) if self._arrived else None
        if error is not None and self._is_stub(error):
            self._not_started()
        return error

    def _is_stub(self, error: RaisedException) -> bool:
        return error.type == "NotImplementedError" and error.message == f"exercise {self.exercise.id} is not started"

    def _receive(self, hangs: str = "", read: str = "", timeout: float | None = None) -> tuple[dict, list[int]]:
        if self._arrived:
            return self._arrived.pop(0)
        limit = self.remaining() if timeout is None else min(timeout * self.scale, self.remaining())
        try:
            self._channel.sock.settimeout(max(limit, 0.05))
            received = self._channel.receive()
        except TimeoutError:
            self._hung(hangs, read, timeout)
        except wire.WireError as error:
            self._tampered(str(error))
        except OSError:
            received = None
        if received is None:
            self._gone()
        if "ran_on" in received[0]:
            self._ran_on(received[0]["ran_on"], _exception(received[0]))
        return received

    def settle(self) -> None:
        """After a check: fail it for what came to light late, such as a child that ran on into its caller's code."""
        if self._tree is None:
            return
        if self._readable(0):
            self._receive()
        if not self._tree.gone:
            self._audit(None)

    def _hung(self, hangs: str, read: str, timeout: float | None) -> None:
        self._violations()
        seconds = (timeout or self.exercise.deadline) * self.scale
        audit = self.audit()
        self._fail(
            verdicts.OUT_OF_TIME,
            should=f"return within {seconds:g} s",
            but=audit.describe(),
            mistake=self._or_loop(hangs),
            read=read,
        )

    def _or_loop(self, mistake: str) -> str:
        """The likely mistake when time is up: with the endless loop before it when the process never sleeps."""
        if not self._spins():
            return mistake
        return f"{ENDLESS_LOOP}, or {mistake}" if mistake else ENDLESS_LOOP

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
        if self._tree.too_many is not None:
            self._fail(
                verdicts.TOO_MANY,
                should=f"get by with at most {self._tree.too_many} processes",
                but="there were more, and all were ended",
                mistake="a fork in a loop whose children go on looping (a fork bomb)",
            )
        if self._tree.parent_killed or parent_hurt:
            self._fail(
                verdicts.CRASHED,
                should="leave its parent process alone",
                but="a signal hit the process that had started it",
                mistake="a signal sent to os.getppid(), or to every process: kill(-1)",
            )

    def _gone(self) -> None:
        """The channel has ended: say what became of the student's process."""
        self._tree.wait_for(lambda: self._tree.status is not None or self._tree.gone or self._tree.parent_killed, 1.0)
        self._violations()
        status = None if self._tree.status is None else os.waitstatus_to_exitcode(self._tree.status)
        if status == CHANNEL_CLOSED_STATUS:
            self._fail(
                verdicts.CRASHED,
                should="close only descriptors that it was given or opened itself",
                but=f"descriptor {CHANNEL_DESCRIPTOR} was closed, through which the judge talks to your code",
                mistake="every descriptor closed, whoever they belong to",
            )
        if status is None:
            self._fail(verdicts.CRASHED, should="come back to the judge", but="its process cannot be reached any more")
        self._fail(
            verdicts.CRASHED,
            should="come back to the judge",
            but=f"its process ended instead: {describe_status(status)}",
            mistake="os._exit in the process that the function was called in"
            if status >= 0
            else "a signal sent to its own process, or to the whole process group",
        )

    def _read_output(self) -> dict[str, bytes]:
        """What the tree wrote to standard output and error since the last look."""
        fresh = {}
        for name in ("out", "err"):
            with open(self._folder / name, "rb") as file:
                file.seek(self._read_so_far[name])
                fresh[name] = file.read()
            self._read_so_far[name] += len(fresh[name])
        return fresh

    # the end

    def end(self) -> None:
        """End the student's whole process tree. Its trace stays until `clear`."""
        if self._tree is not None:
            self.ended = self.ended or time.time()
            self._channel.sock.close()
            self._tree.end()

    def keep_trace(self, target: Path) -> bool:
        """Copy the trace to the path target; False when there is none."""
        if not self.traced or not self._strace_file.is_file():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._strace_file, target)
        return True

    def clear(self) -> None:
        """Remove everything that the check left on disk."""
        shutil.rmtree(self._folder, ignore_errors=True)


_NOTHING_MORE = ", and then nothing more"
_END = ", then end of file"


def _exception(message: dict) -> RaisedException | None:
    entry = message.get("exception")
    if not entry:
        return None
    return RaisedException(
        entry["type"],
        tuple(entry["bases"]),
        entry["message"],
        entry["errno"],
        entry["line"],
        entry.get("source", ""),
    )


def _short(value) -> str:
    if isinstance(value, socket.socket):
        return "a socket" if value.type == socket.SOCK_STREAM else "a datagram socket"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(value)} long)" if hasattr(value, "__len__") else text[:80]

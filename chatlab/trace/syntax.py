"""strace's text, read: lines become steps, in the order in which strace saw them.

A line is `PID TIME WHAT`, where WHAT is a call with its result, the first or second half of a call (`<unfinished ...>`,
`<... NAME resumed>`) that another process's event came between, a signal (`---`) or an end (`+++`). See strace(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LINE = re.compile(r"(?:\[pid +)?(\d+)\]? +(\d+)\.(\d+) (.*)")
_CUT_CALL = re.compile(r"\d+ +\d+\.\d+ (?!close\()\w+\(.*")
_NAME = re.compile(r"(\w+)\(")
_UNFINISHED = re.compile(r"(\w+)\((.*?)\s*<unfinished \.\.\.>(?:\) += \?)?$", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_SIGNAL = re.compile(r"--- (SIG\w+)(?: \{(.*)\})? ---")
_EXITED = re.compile(r"\+\+\+ exited with (\d+) \+\+\+")
_KILLED = re.compile(r"\+\+\+ killed by (SIG\w+)(?: \(core dumped\))? \+\+\+")
_SUPERSEDED = re.compile(r"\+\+\+ superseded by execve in pid (\d+) \+\+\+")

# What -yy writes after a descriptor: a socket's or anonymous inode's `NAME:[...]` (which may hold "->"), or a path,
# which may be followed by a device's `<char 1:3>`.
ANNOTATION = r"<(?:[A-Za-z][\w-]*:\[.*?\](?=>)|[^<>]*(?:<[^<>]*>)?[^<>]*)>"
_TOKEN = re.compile(rf'"(?:[^"\\]|\\.)*"|(?<=[\dD]){ANNOTATION}|[()\[\]{{}},]', re.DOTALL)
_RESULT = re.compile(
    rf"\s*= (?P<value>\?|0x[0-9a-f]+|-?\d+)(?P<note>{ANNOTATION})?(?P<rest>.*?)(?:\s+<(?P<seconds>\d+\.\d+)>)?\s*$",
    re.DOTALL,
)
_ERROR = re.compile(r"\s*(E[A-Z0-9]+)\b")
_DESCRIPTOR = re.compile(rf"(-?\d+|AT_FDCWD)({ANNOTATION})?(?:\(deleted\))?$", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?', re.DOTALL)
_BUFFER = re.compile(r'iov_base="((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_NAMED_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "v": "\v", "f": "\f", "a": "\a", "b": "\b", "e": "\x1b"}


@dataclass(slots=True)
class SystemCall:
    """A call as strace printed it. time: s since the first line. seconds: its duration, None when it never returned."""

    tid: int
    time: float
    name: str
    args: tuple[str, ...] = ()
    result: int | None = None
    note: str = ""
    error: str | None = None
    seconds: float | None = None
    text: str = ""

    @property
    def done(self) -> bool:
        """It returned, without an error."""
        return self.result is not None and self.error is None

    def flag(self, name: str) -> bool:
        """True when a flag of that name stands in an argument outside of strings."""
        return any(name in arg for arg in self.args if not arg.startswith('"'))


@dataclass(slots=True)
class Step:
    """One event. what: "enter" and "leave" (of `call`), "signal" or "exit". time: s since the first line."""

    what: str
    tid: int
    time: float
    call: SystemCall | None = None
    signal: str | None = None
    fields: str = ""
    status: int | None = None


@dataclass(slots=True)
class Steps:
    """The steps of a trace, in the order in which strace saw them. start: unix time of the first line, s."""

    start: float
    steps: list[Step]


def read_steps(lines: Iterable[str]) -> Steps:
    """The events of strace's output. Lines that make no sense are left out, a cut last one where it would mislead."""
    first = 0
    stamped = []
    for line in lines:
        match = _LINE.match(line if line.endswith("\n") else _in_progress(line))
        if match:
            # A float holds unix time only to a quarter of a microsecond: subtract first, in whole nanoseconds.
            nanoseconds = int(match[2]) * 10**9 + int(match[3].ljust(9, "0"))
            first = first or nanoseconds
            stamped.append((int(match[1]), (nanoseconds - first) / 1e9, match[4]))
    return Steps(first / 1e9, list(_steps(stamped)))


def _in_progress(line: str) -> str:
    """A last line without its end: the call that the program is in now, since strace writes what it knows at once.

    Of a close even the number may be cut, and a close acts when it begins: it is not believed.
    """
    return f"{line} <unfinished ...>" if _CUT_CALL.fullmatch(line) else ""


def _steps(stamped: Iterable[tuple[int, float, str]]) -> Iterator[Step]:
    pending: dict[int, tuple[SystemCall, str]] = {}
    for tid, time, what in stamped:
        if what.startswith("<..."):
            yield from _resumed(pending, tid, time, what)
        elif what.startswith("+++"):
            yield from _ended(pending, tid, time, what)
        elif what.startswith("---"):
            if found := _SIGNAL.match(what):
                yield Step("signal", tid, time, signal=found[1], fields=found[2] or "")
        else:
            yield from _called(pending, tid, time, what)


def _called(pending: dict, tid: int, time: float, what: str) -> Iterator[Step]:
    if what.endswith(("<unfinished ...>", "= ?")) and (found := _UNFINISHED.match(what)):
        call = SystemCall(tid, time, found[1], split_arguments(found[2])[0], text=f"{found[1]}({found[2]} …")
        pending[tid] = call, f"{found[1]}({found[2]}"
        yield Step("enter", tid, time, call)
    elif found := _NAME.match(what):
        call = SystemCall(tid, time, found[1])
        if _complete(call, what):
            yield Step("enter", tid, time, call)
            yield Step("leave", tid, time + (call.seconds or 0.0), call)


def _resumed(pending: dict, tid: int, time: float, what: str) -> Iterator[Step]:
    found = _RESUMED.match(what)
    if not found or tid not in pending:
        return
    call, first_half = pending.pop(tid)
    glue = " " if first_half.endswith(",") and not found[2].startswith(" ") else ""
    if call.name == found[1] and _complete(call, first_half + glue + found[2]):
        # strace starts its stopwatch a little after it writes down the time: time and duration would add up to a return
        # before what caused it. This line's own time is later than that of every line above.
        if call.seconds is not None:
            call.seconds = time - call.time
        yield Step("leave", tid, time, call)


def _ended(pending: dict, tid: int, time: float, what: str) -> Iterator[Step]:
    if found := _EXITED.match(what):
        yield Step("exit", tid, time, status=int(found[1]))
    elif found := _KILLED.match(what):
        yield Step("exit", tid, time, signal=found[1])
    elif (found := _SUPERSEDED.match(what)) and int(found[1]) in pending:
        # execve(2) in a thread that is not the first: the thread takes over the process's pid.
        pending[tid] = pending.pop(int(found[1]))


def _complete(call: SystemCall, text: str) -> bool:
    """Fill in a call from its whole text; False when it cannot be read."""
    start = text.index("(") + 1
    args, length = split_arguments(text[start:])
    found = _RESULT.match(text, start + length + 1)
    if not found:
        return False
    call.args = args
    call.result = None if found["value"] == "?" else int(found["value"], 0)
    call.note = (found["note"] or "")[1:-1]
    if (call.result is None or call.result < 0) and (error := _ERROR.match(found["rest"])):
        call.error = error[1]
    call.seconds = float(found["seconds"]) if found["seconds"] else None
    call.text = f"{text[: start + length + 1]} = {found['value']}{found['note'] or ''}{found['rest'].rstrip()}"
    return True


def split_arguments(text: str) -> tuple[tuple[str, ...], int]:
    """The arguments at the beginning of text, and how many characters they take.

    They go up to the parenthesis that closes the call.
    """
    args, depth, first = [], 0, 0
    end = len(text)
    for token in _TOKEN.finditer(text):
        character = token[0]
        if character in "([{":
            depth += 1
        elif character in ")]}":
            if depth == 0:
                end = token.start()
                break
            depth -= 1
        elif character == "," and depth == 0:
            args.append(text[first : token.start()].strip())
            first = token.end()
    if last := text[first:end].strip():
        args.append(last)
    return tuple(args), end


def descriptor(argument: str) -> tuple[int | None, str]:
    """An argument such as `3<pipe:[7]>` as its number and what strace says of it; (None, "") for another argument."""
    found = _DESCRIPTOR.match(argument)
    if not found or found[1] == "AT_FDCWD":
        return None, (found[2] or "")[1:-1] if found else ""
    return int(found[1]), (found[2] or "")[1:-1]


def bare(argument: str) -> str:
    """An argument without what strace says of its descriptor."""
    found = _DESCRIPTOR.match(argument)
    return found[1] if found else argument


def strings(argument: str) -> list[bytes]:
    """Every string in an argument, in order. strace may have cut them."""
    return [unquote(found[1]) for found in _STRING.finditer(argument)]


def buffers(argument: str) -> bytes:
    """The bytes of an iovec, or of the messages that hold one. strace may have cut them."""
    return b"".join(unquote(found[1]) for found in _BUFFER.finditer(argument))


def unquote(text: str) -> bytes:
    """The bytes that strace wrote as text, with C's escapes."""
    return _ESCAPE.sub(_unescaped, text).encode("latin-1", "replace")


def _unescaped(found: re.Match) -> str:
    escape = found[1]
    if escape[0] == "x" and len(escape) == 3:
        return chr(int(escape[1:], 16))
    if escape[0].isdigit():
        return chr(int(escape, 8) & 0xFF)
    return _NAMED_ESCAPES.get(escape, escape)

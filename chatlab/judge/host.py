"""The student's process: loads one exercises.py and carries out the judge's calls, one at a time.

    python host.py CHANNEL EXERCISES_FILE [FOLDER ...]        (folders for sys.path: the lab's, and those before it)

A call goes in two steps, so that the judge can look at this process before and after it: the call arrives, "ready" is
answered; "go" arrives, the function runs, "done" is answered. Nothing here decides on a verdict.

A child that the student's code forks and forgets comes back here, out of the function that it was called from. It is
not this process, so it says so ("ran on") and leaves; an exception or sys.exit in it is told too, and then goes the way
that it would go in any program: up and out, with buffers flushed on the way.

Standard library only, and little of it, since every check starts this anew.
"""

import errno
import os
import socket
import sys
import warnings

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from chatlab.judge import wire  # noqa: E402  (run as a script, outside of the package's environment)

HOST = os.getpid()
CHANNEL_CLOSED_STATUS = 71  # what this process leaves with when its channel was closed under it


class Host:
    """The loop between the channel and the student's module."""

    def __init__(self, channel: wire.Channel, path: str):
        self.channel = channel
        self.path = path
        self.names: dict = {"__name__": "exercises", "__file__": path}
        self.remotes: list = []
        self.kept: list = []  # arguments stay open until the end: whoever called still holds them
        self.unclosed: list[str] = []
        warnings.simplefilter("always", ResourceWarning)
        warnings.showwarning = self._warned

    def _warned(self, message, category, *rest) -> None:
        if issubclass(category, ResourceWarning):
            self.unclosed.append(str(message))

    def load(self) -> None:
        """Run the exercises file, as an import would, and tell how that went."""
        error = None
        try:
            with open(self.path, "rb") as file:
                source = file.read()
            self._refuse_wrong_encoding(source)
            module = type(sys)("exercises")
            module.__dict__.update(self.names)
            sys.modules["exercises"] = module
            self.names = module.__dict__
            exec(compile(source, self.path, "exec"), self.names)
        except BaseException as raised:  # whatever a student's file raises, SystemExit too, is told, not obeyed
            if os.getpid() != HOST:
                raise
            error = self._describe(raised)
        self._answer({"loaded": error is None, "exception": error})

    def _refuse_wrong_encoding(self, source: bytes) -> None:
        """Raise the SyntaxError that Python has for a file, and compile() not for bytes."""
        if b"coding" in b"".join(source.splitlines()[:2]):
            return  # it names an encoding of its own: PEP 263
        try:
            source.decode()
        except UnicodeDecodeError as error:
            line = source.count(b"\n", 0, error.start) + 1
            raise SyntaxError("the file is not UTF-8", (self.path, line, None, None)) from None

    def serve(self) -> None:
        """Carry out calls until the judge closes the channel."""
        while (message := self.channel.receive()) is not None:
            command, descriptors = message
            self._obey(command, descriptors)

    def _obey(self, command: dict, descriptors: list[int]) -> None:
        arguments, problem = [], None
        try:
            arguments = [self._decode(item, descriptors) for item in command.get("args", [])]
            self.kept.append(arguments)
            function = self._find(command)
        except (KeyError, AttributeError) as error:
            problem = self._describe(error)
            problem["missing"] = True
        if problem:
            self._answer({"done": True, "exception": problem})
            return
        self._answer({"ready": True})
        if self.channel.receive() is None:
            return
        self.unclosed.clear()
        self._run(function, arguments, command.get("returns_fd", False))

    def _decode(self, value, descriptors):
        return wire.decode(
            value,
            descriptors,
            fd=int,
            name=self.names.__getitem__,
            remote=lambda number, text: self.remotes[number],
        )

    def _find(self, command: dict):
        """The function that a command means."""
        if command["do"] == "define":
            return lambda source: exec(compile(source, "<the judge's helpers>", "exec"), self.names)
        name, owner = command["name"], command.get("remote")
        value = self.names[name] if owner is None else getattr(self.remotes[owner], name)
        return (lambda: value) if command["do"] == "get" else value

    def _run(self, function, arguments: list, returns_fd: bool) -> None:
        value, error = None, None
        try:
            value = function(*arguments)
        except BaseException as raised:  # told to the judge, whatever it is
            if os.getpid() != HOST:
                self.channel.send({"ran_on": os.getpid(), "exception": self._describe(raised)})
                self.channel.sock.detach()  # else the interpreter complains of it on the way out
                raise
            error = self._describe(raised)
        if os.getpid() != HOST:
            self.channel.send({"ran_on": os.getpid()})
            os._exit(70)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass  # closed by the student's code
        descriptors: list[int] = []
        # The value itself lives until the answer is sent: a socket that nobody else holds would be closed before.
        encoded = None if error else self._encode(value, descriptors, returns_fd)
        self._answer({"done": True, "value": encoded, "exception": error, "unclosed": self.unclosed[:20]}, descriptors)
        del value

    def _encode(self, value, descriptors: list[int], returns_fd: bool):
        if returns_fd and type(value) is int:
            value = wire.Fd(value)
        try:
            return wire.encode(value, descriptors, self._keep)
        except (RecursionError, OSError, ValueError):
            return wire.encode(self._keep(value), descriptors)

    def _keep(self, value) -> wire.RemoteNumber:
        self.remotes.append(value)
        return wire.RemoteNumber(len(self.remotes) - 1, f"a {type(value).__name__}")

    def _describe(self, error: BaseException) -> dict:
        """An exception in plain data: type, message, errno, and the line of exercises.py that it came from."""
        lines = [line for file, line in self._frames(error) if file == self.path]
        if isinstance(error, SyntaxError):
            lines = [error.lineno or 0]
        return {
            "type": type(error).__name__,
            "bases": [base.__name__ for base in type(error).__mro__],
            "message": (error.msg if isinstance(error, SyntaxError) else str(error))[:2000],
            "source": (error.text or "").strip()[:200] if isinstance(error, SyntaxError) else "",
            "errno": error.errno if isinstance(error, OSError) else None,
            "line": lines[-1] if lines else None,
        }

    @staticmethod
    def _frames(error: BaseException) -> list[tuple[str, int]]:
        frames, step = [], error.__traceback__  # by hand: to import `traceback` takes a quarter of this program's start
        while step is not None:
            frames.append((step.tb_frame.f_code.co_filename, step.tb_lineno))
            step = step.tb_next
        return frames

    def _answer(self, message: dict, descriptors: list[int] = ()) -> None:
        self.channel.send(message, descriptors)


def main() -> None:
    """Run the student's process as the module's docstring says."""
    channel = wire.Channel(socket.socket(fileno=int(sys.argv[1])))
    channel.sock.set_inheritable(False)
    folders = [os.path.dirname(sys.argv[2]), *sys.argv[3:]]
    sys.path[:1] = folders
    host = Host(channel, sys.argv[2])
    try:
        host.load()
        host.serve()
    except OSError as error:
        if os.getpid() == HOST and error.errno in (errno.EBADF, errno.ENOTSOCK):
            os._exit(CHANNEL_CLOSED_STATUS)
        raise


if __name__ == "__main__":
    main()

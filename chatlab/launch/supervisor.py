"""The supervisor: starts one program, tells what becomes of its process tree, and ends the whole of it.

It runs in a process of its own, between the one that asks (a test, a notebook kernel, a judge) and the program.
Under bubblewrap it is pid 1 of the program's namespace: `kill(-1)` cannot touch it, every orphan becomes its child, and
one `kill(-1, SIGKILL)` ends all. Elsewhere it is a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): orphans become its
children too, and it kills and reaps until none is left.

It is told what to do over a stream socket, one JSON object a line, and answers in the same way. When the socket ends,
because the asking process closed it or died in whatever way, it ends the tree: nothing outlives who asked for it.

    python supervisor.py CONTROL_DESCRIPTOR SPECIFICATION_AS_JSON

The specification: `argv`, `env`, `cwd`; `descriptors` (number in the program to number here); `limits` (name of an
RLIMIT to a number); `max_processes` (or null); `tracer` (a program's name, such as strace, left out of audits); `decoy`
(true for code that may turn on its parent: a process in between takes the blow); `remove` (a folder, or null).

Commands: {"do": "audit"}, {"do": "signal", "signal": 15}, {"do": "end", "grace": seconds}.
Events: started (pid), exited (pid, status as waitpid(2) gives it), idle (no process is left), too_many (limit),
parent_killed (the decoy was), audit (see `audit`), failed (why the program did not start), ended.

Standard library only. Source: prctl(2), pid_namespaces(7), wait(2).
"""

import json
import os
import resource
import select
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from chatlab import procfs  # noqa: E402  (this file is run as a script, outside of the package's environment)

PR_SET_CHILD_SUBREAPER = 36
COUNT_EVERY_SECONDS = 0.1
TRACER_LEAVES_SECONDS = 1.0


class Supervisor:
    """One program and all that it starts, from the first process to the last.

    Arguments: control, the socket to whoever asks; specification, a dictionary as the module's docstring says.
    """

    def __init__(self, control: socket.socket, specification: dict):
        self.control = control
        self.specification = specification
        self.main = 0
        self.inbox = b""
        self.orphans_ended: list[int] = []
        self.main_ended = False
        self.idle_told = False
        self.decoy = 0
        self.decoy_pipe: int | None = None
        self.namespace = os.getpid() == 1

    def run(self) -> None:
        """Start the program, serve commands, and end the tree."""
        if not self.namespace:
            import ctypes  # only now: it would cost a few milliseconds at every start

            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        wake = self._wake_on_child()
        try:
            self._start()
            self._serve(wake)
        finally:
            self._end_tree()
            if self.specification.get("remove"):
                import shutil  # only now, for the same reason

                shutil.rmtree(self.specification["remove"], ignore_errors=True)

    # the loop

    def _wake_on_child(self) -> socket.socket:
        """A socket that is readable after a SIGCHLD."""
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._waker = waker  # kept open
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        return woken

    def _serve(self, wake: socket.socket) -> None:
        poller = select.poll()
        poller.register(self.control, select.POLLIN)
        poller.register(wake, select.POLLIN)
        if self.decoy_pipe is not None:
            poller.register(self.decoy_pipe, select.POLLIN)
        counting = self.specification.get("max_processes") is not None
        while True:
            ready = dict(poller.poll(COUNT_EVERY_SECONDS * 1000 if counting else None))
            if wake.fileno() in ready:
                wake.recv(4096)
            if self.decoy_pipe in ready:
                poller.unregister(self.decoy_pipe)
                self._hear_decoy()
            self._reap()
            if counting and self._too_many():
                counting = False
            if self.control.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        """Carry out the commands that have arrived; False when there will be no more."""
        try:
            chunk = self.control.recv(65536)
        except ConnectionError:
            return False
        self.inbox += chunk
        *lines, self.inbox = self.inbox.split(b"\n")
        for line in lines:
            command = json.loads(line)
            if command["do"] == "audit":
                self._tell("audit", **self.audit())
            elif command["do"] == "signal":
                self._signal(command.get("pid") or self.main, command["signal"])
            elif command["do"] == "end":
                self._end_gently(command.get("grace", 0))
                return False
        return bool(chunk)

    def _tell(self, event: str, **fields) -> None:
        try:
            self.control.sendall(json.dumps({"event": event, **fields}).encode() + b"\n")
        except OSError:
            pass  # whoever asked is gone; the next recv says so

    # the program

    def _start(self) -> None:
        specification = self.specification
        targets = {int(target): source for target, source in specification["descriptors"].items()}
        failed_read, failed_write = os.pipe()
        if specification.get("decoy"):
            self.main = self._fork_under_decoy(specification, targets, failed_write)
        else:
            self.main = os.fork()
            if self.main == 0:
                self._become_program(specification, targets, failed_write)
        os.close(failed_write)
        for source in set(targets.values()):
            os.close(source)
        why = os.read(failed_read, 4096)
        os.close(failed_read)
        if why:
            self._tell("failed", why=why.decode())
        else:
            self._tell("started", pid=self.main)

    def _fork_under_decoy(self, specification: dict, targets: dict[int, int], failed: int) -> int:
        """Put a process between us and the program: what is done to the program's parent is done to that one.

        Its pipe carries the program's pid, then the status that it left with; the end of the pipe before that tells
        that the decoy was killed.
        """
        self.decoy_pipe, report = os.pipe()
        self.decoy = os.fork()
        if self.decoy == 0:
            try:
                os.setsid()
                self._default_signals()
                program = os.fork()
                if program == 0:
                    self._become_program(specification, targets, failed)
                for descriptor in (self.control.fileno(), failed, *set(targets.values())):
                    os.close(descriptor)
                os.write(report, b"%d\n" % program)
                os.write(report, b"%d\n" % os.waitpid(program, 0)[1])
            finally:
                os._exit(0)
        os.close(report)
        return int(os.read(self.decoy_pipe, 32))

    def _hear_decoy(self) -> None:
        """The decoy's pipe is readable: the program has ended, or the decoy was killed."""
        said = os.read(self.decoy_pipe, 32)
        os.close(self.decoy_pipe)
        self.decoy_pipe = None
        if said:
            self.main_ended = True
            self._tell("exited", pid=self.main, status=int(said))
        else:
            self._tell("parent_killed")

    def _become_program(self, specification: dict, targets: dict[int, int], failed: int) -> None:
        """In the child: set up what the program expects to find, and turn into it."""
        try:
            os.setsid()
            self._default_signals()
            # First out of the way of every target, so that no dup2 overwrites a source.
            spare = max([failed, *targets, *targets.values()]) + 1
            moved = {target: self._dup_above(source, spare) for target, source in targets.items()}
            failed = self._dup_above(failed, spare)
            for target, source in moved.items():
                os.dup2(source, target, inheritable=True)
            # Everything else here is close-on-exec (PEP 446), the control socket too.
            for name, value in specification.get("limits", {}).items():
                kind = getattr(resource, f"RLIMIT_{name}")
                resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))
            os.chdir(specification["cwd"])
            os.execvpe(specification["argv"][0], specification["argv"], specification["env"])
        except OSError as error:
            os.write(failed, f"{specification['argv'][0]}: {error.strerror or error}".encode())
        except (ValueError, AttributeError) as error:
            os.write(failed, str(error).encode())
        finally:
            os._exit(127)

    @staticmethod
    def _default_signals() -> None:
        """Undo what `_wake_on_child` did: a child inherits dispositions, and ignored ones stay so after exec."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)

    @staticmethod
    def _dup_above(descriptor: int, least: int) -> int:
        import fcntl  # noqa: PLC0415  (only the child needs it)

        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)

    def _signal(self, pid: int, number: int) -> None:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _reap(self) -> None:
        """Reap every child that has ended: the program itself, and orphans that fell to us."""
        while True:
            try:
                # Looked at first, and reaped after: a zombie still has its name.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                if not self.idle_told:
                    self.idle_told = True
                    self._tell("idle")
                return
            if ended is None:
                return
            is_tracer = self._is_tracer(procfs.stat(ended.si_pid))
            pid, status = os.waitpid(ended.si_pid, 0)
            if pid == self.main:
                self.main_ended = True
                self._tell("exited", pid=pid, status=status)
            elif not is_tracer and pid != self.decoy:
                self.orphans_ended.append(pid)

    def _is_tracer(self, entry: procfs.Stat | None) -> bool:
        """Whether this is the tracer, which strace -D leaves as an orphan of ours beside the program."""
        name = self.specification.get("tracer")
        return entry is not None and name is not None and entry.command == name and entry.parent == os.getpid()

    # what there is

    def audit(self) -> dict:
        """Every process of the tree as /proc shows it, and the shared-memory segments.

        Returns: main (pid); processes: a list of {pid, parent, state, command, descriptors, waits_in, ignored, caught,
        blocked}; orphans (pids whose parent has ended); orphans_ended (a count); segments (names); parent_hurt (whether
        the decoy was killed or stopped, or is just about to be).
        """
        tree = procfs.descendants(os.getpid())
        seen = [entry for entry in tree if not self._is_tracer(entry) and entry.pid != self.decoy]
        return {
            "main": self.main,
            "processes": [self._describe(entry) for entry in seen],
            "orphans": [entry.pid for entry in seen if entry.parent == os.getpid() and entry.pid != self.main],
            "orphans_ended": len(self.orphans_ended),
            "segments": procfs.segments(),
            "parent_hurt": self._decoy_is_hurt(),
        }

    def _decoy_is_hurt(self) -> bool:
        """Whether a signal has hit the decoy. One sent a moment ago is pending, and shows in its status: proc(5)."""
        if not self.decoy or self.main_ended:
            return False
        entry, fields = procfs.stat(self.decoy), procfs.status(self.decoy)
        if entry is None or entry.state in "ZXT":
            return True
        pending = procfs.signal_names(fields.get("SigPnd", "0")) + procfs.signal_names(fields.get("ShdPnd", "0"))
        return bool(set(pending) - {"SIGCHLD"})

    @staticmethod
    def _describe(entry: procfs.Stat) -> dict:
        zombie = entry.state in "ZX"
        return {
            "pid": entry.pid,
            "parent": entry.parent,
            "state": entry.state,
            "command": procfs.command_line(entry.pid) or entry.command,
            "descriptors": {} if zombie else procfs.descriptors(entry.pid),
            "waits_in": None if zombie else procfs.waits_in(entry.pid),
            **procfs.signal_state(entry.pid),
        }

    def _too_many(self) -> bool:
        limit = self.specification["max_processes"]
        if len(procfs.descendants(os.getpid())) <= limit:
            return False
        self._tell("too_many", limit=limit)
        self._kill_all(tracer_too=True)
        return True

    # the end

    def _end_gently(self, grace: float) -> None:
        """Ask the program to end (SIGTERM), and wait for it for at most grace seconds."""
        deadline = time.monotonic() + grace
        if grace:
            self._signal(self.main, signal.SIGTERM)
        while grace and not self.main_ended and time.monotonic() < deadline:
            select.select([], [], [], 0.005)
            self._reap()

    def _kill_all(self, tracer_too: bool = False) -> None:
        """Kill every process of the tree once. A tracer leaves by itself after its last line, when no one is left."""
        tree = procfs.descendants(os.getpid())
        spared = set() if tracer_too else {entry.pid for entry in tree if self._is_tracer(entry)}
        if self.namespace and not spared:
            self._signal(-1, signal.SIGKILL)  # all at once, whatever they fork meanwhile: kill(2)
            return
        for entry in tree:
            if entry.pid not in spared:
                self._signal(entry.pid, signal.SIGKILL)

    def _end_tree(self) -> None:
        """Kill and reap until the kernel says that there is no child left (ECHILD)."""
        began = time.monotonic()
        while True:
            self._kill_all(tracer_too=time.monotonic() - began > TRACER_LEAVES_SECONDS)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                self._tell("ended", orphans_ended=len(self.orphans_ended))
                return
            select.select([], [], [], 0.002)


def main() -> None:
    """Run the supervisor as the module's docstring says."""
    control = socket.socket(fileno=int(sys.argv[1]))
    specification = json.loads(sys.argv[2])
    for descriptor in (control.fileno(), *specification["descriptors"].values()):
        os.set_inheritable(descriptor, False)
    Supervisor(control, specification).run()
    os._exit(0)  # who asked waits for this end: nothing here is left to tidy up


if __name__ == "__main__":
    main()

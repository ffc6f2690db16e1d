"""`chatlab doctor`: what this machine has for the course. Every answer comes from trying it, not from a version."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST_PYTHON = (3, 11)
USUAL_PORT = 9999
LEAST_DESCRIPTORS = 256
TRY_SECONDS = 10
RESTRICTION = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


@dataclass(frozen=True)
class Finding:
    """One line of the report. needed: the course does not work without it; cure: what to do, and what is lost."""

    name: str
    ok: bool
    words: str
    cure: str = ""
    needed: bool = False


def findings() -> Iterator[Finding]:
    """Look at everything, one Finding after the other."""
    for look in LOOKS:
        yield look()


def look_at_python() -> Finding:
    """Python 3.11 or newer."""
    version = sys.version.split()[0]
    ok = sys.version_info >= OLDEST_PYTHON
    return Finding(
        "Python", ok, version, "install Python 3.11 or newer, then PYTHON=python3.11 make lab-1", needed=True
    )


def look_at_system() -> Finding:
    """Linux, with pidfd_open(2)."""
    name = os.uname()
    ok = name.sysname == "Linux" and _works(_open_and_close_pidfd)
    return Finding("Linux", ok, name.release, "the labs need Linux 5.3 or newer (pidfd_open)", needed=True)


def look_at_strace() -> Finding:
    """strace(1), and that it may trace: ptrace(2) can be forbidden, in containers most of all."""
    without = "without it traces are sampled, checks of system calls say `not checked`"
    if shutil.which("strace") is None:
        return Finding("strace", False, "not installed", f"sudo apt-get install strace; {without}")
    done = _try("strace", "-f", "-o", os.devnull, "true")
    if done.returncode:
        cure = f"allow ptrace (docker run --cap-add=SYS_PTRACE; sysctl kernel.yama.ptrace_scope=1); {without}"
        return Finding("strace", False, f"may not trace: {_last_line(done)}", cure)
    return Finding("strace", True, "traces")


def look_at_bubblewrap() -> Finding:
    """bwrap(1), and that it makes a sandbox with a process namespace of its own."""
    without = "without it student code is contained by its supervisor alone"
    if shutil.which("bwrap") is None:
        return Finding("bubblewrap", False, "not installed", f"sudo apt-get install bubblewrap; {without}")
    done = _try("bwrap", "--ro-bind", "/", "/", "--unshare-pid", "--unshare-net", "--die-with-parent", "true")
    if done.returncode:
        return Finding(
            "bubblewrap", False, f"cannot make a sandbox: {_last_line(done)}", f"see `user namespaces`; {without}"
        )
    return Finding("bubblewrap", True, "makes a sandbox")


def look_at_compiler() -> Finding:
    """cc(1), which compiles the benchmark's peers in C."""
    without = "without it `make bench` leaves out the servers in C"
    if shutil.which("cc") is None:
        return Finding("C compiler", False, "not installed", f"sudo apt-get install gcc libc6-dev; {without}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "try.c")
        source.write_text("#include <sys/epoll.h>\nint main(void) { return epoll_create1(0) < 0; }\n", encoding="utf-8")
        done = _try("cc", "-o", f"{folder}/try", str(source))
    if done.returncode:
        return Finding(
            "C compiler", False, f"cannot compile: {_last_line(done)}", f"sudo apt-get install libc6-dev; {without}"
        )
    return Finding("C compiler", True, "compiles")


def look_at_user_namespaces() -> Finding:
    """user_namespaces(7): bubblewrap needs them unless it runs as root. Ubuntu 24.04 forbids them to ordinary users."""
    if shutil.which("unshare") is None:
        return Finding("user namespaces", False, "cannot be tried", "sudo apt-get install util-linux")
    done = _try("unshare", "--user", "--map-root-user", "true")
    if done.returncode == 0:
        return Finding("user namespaces", True, "can be made")
    cure = "sudo sysctl kernel.unprivileged_userns_clone=1"
    if RESTRICTION.exists() and RESTRICTION.read_text().strip() == "1":
        cure = (
            f"sudo sysctl {'.'.join(RESTRICTION.parts[3:])}=0 (AppArmor forbids them, as Ubuntu 24.04 does by default)"
        )
    return Finding("user namespaces", False, f"cannot be made: {_last_line(done)}", f"{cure}; bubblewrap needs them")


def look_at_descriptor_limit() -> Finding:
    """RLIMIT_NOFILE, getrlimit(2): how many descriptors one process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = "no limit" if hard == resource.RLIM_INFINITY else str(hard)
    ok = soft == resource.RLIM_INFINITY or soft >= LEAST_DESCRIPTORS
    return Finding("descriptor limit", ok, f"{soft}, can be raised to {most}", "ulimit -n 1024", needed=True)


def look_at_shared_memory() -> Finding:
    """/dev/shm, shm_overview(7): files there are shared memory."""
    try:
        with tempfile.TemporaryFile(dir="/dev/shm") as file:
            file.write(b"x")
    except OSError as error:
        return Finding("/dev/shm", False, str(error.strerror), "sudo mount -t tmpfs tmpfs /dev/shm", needed=True)
    return Finding("/dev/shm", True, "can be written")


def look_at_loopback() -> Finding:
    """127.0.0.1 answers: a connection to a listener of our own."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            client.settimeout(TRY_SECONDS)
            client.connect(listener.getsockname())
    except OSError as error:
        return Finding("loopback", False, str(error), "sudo ip link set lo up", needed=True)
    return Finding("loopback", True, "127.0.0.1 answers")


def look_at_usual_port() -> Finding:
    """The port that the servers take when none is named."""
    try:
        socket.create_server(("127.0.0.1", USUAL_PORT)).close()
    except OSError as error:
        cure = f"`ss -ltnp 'sport = :{USUAL_PORT}'` tells who has it; --port 0 lets the kernel choose another"
        return Finding(f"port {USUAL_PORT}", False, os.strerror(error.errno), cure)
    return Finding(f"port {USUAL_PORT}", True, "free")


LOOKS: tuple[Callable[[], Finding], ...] = (
    look_at_python,
    look_at_system,
    look_at_strace,
    look_at_bubblewrap,
    look_at_user_namespaces,
    look_at_descriptor_limit,
    look_at_shared_memory,
    look_at_loopback,
    look_at_usual_port,
    look_at_compiler,
)


def _open_and_close_pidfd() -> None:
    os.close(os.pidfd_open(os.getpid()))


def _works(action: Callable[[], None]) -> bool:
    try:
        action()
    except (OSError, AttributeError):
        return False
    return True


def _try(*command: str) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TRY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"did not end within {TRY_SECONDS} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _last_line(done: subprocess.CompletedProcess) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"

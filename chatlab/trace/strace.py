"""strace(1): the command that makes an exact trace.

Every call that concerns processes, descriptors, sockets, signals and waiting is asked for; what would only be noise
(memory, file status, time) is not. With --seccomp-bpf the kernel stops the program at these calls alone, so the
others cost nothing.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence

# A line of chat is readable whole; one of 64 KiB is not.
STRING_BYTES = 256

CALLS = (
    # processes
    "fork vfork clone clone3 execve execveat exit exit_group wait4 waitid prctl setsid setpgid",
    # signals
    "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal rt_sigaction rt_sigprocmask rt_sigsuspend "
    "rt_sigtimedwait rt_sigpending pause alarm setitimer timer_create timer_settime nanosleep clock_nanosleep",
    # descriptors
    "open openat openat2 creat close close_range dup dup2 dup3 fcntl ioctl pipe pipe2 ftruncate flock unlink unlinkat",
    "eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime memfd_create pidfd_open pidfd_getfd "
    "inotify_init inotify_init1",
    # bytes
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 splice tee vmsplice sendfile "
    "copy_file_range",
    # sockets
    "socket socketpair bind listen accept accept4 connect shutdown getsockname getsockopt setsockopt",
    "sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg",
    # waiting for readiness
    "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait "
    "epoll_pwait2 restart_syscall",
    # System V shared memory
    "shmget shmat shmdt shmctl",
)


def command(output: str | os.PathLike, *, extra: Sequence[str] = ()) -> list[str] | None:
    """The argv prefix that runs a program under strace, which writes to `output`; None when it is not installed.

    The program stays the direct child of whoever starts it (-D), and its descendants are followed. extra: further
    options of strace, such as ("-e", "inject=clone:error=EAGAIN:when=3").
    """
    strace = shutil.which("strace")
    if strace is None:
        return None
    # A call that this machine's kernel does not know (open on arm64) is skipped, thanks to its "?".
    calls = ",".join(f"?{name}" for line in CALLS for name in line.split())
    options = ["-f", "-D", "-yy", "-s", str(STRING_BYTES), "-e", f"trace={calls}", *_newer_options(strace)]
    return [strace, *options, *extra, "-o", os.fspath(output), "--"]


@functools.cache
def _newer_options(strace: str) -> tuple[str, ...]:
    """The options that older versions lack, or their older forms.

    --seccomp-bpf came with strace 5.3, long options with 5.6.
    """
    done = subprocess.run([strace, "-h"], capture_output=True, text=True, check=False)
    known = done.stdout + done.stderr
    options = ("--seccomp-bpf",) if "--seccomp-bpf" in known else ()
    if "--absolute-timestamps" in known and "--syscall-times" in known:
        return (*options, "--absolute-timestamps=format:unix,precision:ns", "--syscall-times=ns")
    return (*options, "-ttt", "-T")

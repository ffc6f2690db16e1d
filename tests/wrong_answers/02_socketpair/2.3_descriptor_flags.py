"""F_GETFD and F_SETFD, the descriptor's own flags, instead of F_GETFL and F_SETFL.

check: test_a_recv_does_not_wait_any_more
says: F_SETFD, which sets the descriptor's own flags
"""

import fcntl
import os


def set_nonblocking(fd):
    old = fcntl.fcntl(fd, fcntl.F_GETFD)
    fcntl.fcntl(fd, fcntl.F_SETFD, old | os.O_NONBLOCK)
    return old

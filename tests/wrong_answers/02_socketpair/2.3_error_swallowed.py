"""An error is told as -1, as C does it, and the exception swallowed.

check: test_a_closed_descriptor
says: the error swallowed
"""

import fcntl
import os


def set_nonblocking(fd):
    try:
        old = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, old | os.O_NONBLOCK)
    except OSError:
        return -1
    return old

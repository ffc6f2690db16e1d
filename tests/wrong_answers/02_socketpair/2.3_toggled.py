"""The flag is toggled, so that the second call makes the descriptor blocking again.

check: test_a_second_time
says: a flag toggled by ^ or +
"""

import fcntl
import os


def set_nonblocking(fd):
    old = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, old ^ os.O_NONBLOCK)
    return old

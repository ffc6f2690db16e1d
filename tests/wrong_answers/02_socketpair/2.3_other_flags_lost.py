"""O_NONBLOCK is set alone, which clears all other flags.

check: test_other_flags_stay
says: F_SETFL with O_NONBLOCK alone
"""

import fcntl
import os


def set_nonblocking(fd):
    old = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
    return old

"""It returns the new flags, with which nothing can be restored.

check: test_the_old_flags_are_given_back
says: the new flags, or nothing, returned
"""

import fcntl
import os


def set_nonblocking(fd):
    new = fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK
    fcntl.fcntl(fd, fcntl.F_SETFL, new)
    return new

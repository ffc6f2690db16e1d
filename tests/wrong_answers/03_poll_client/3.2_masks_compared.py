"""The masks are compared by == instead of being tested bit by bit.

check: test_last_words_come_before_the_close
says: a mask compared by ==
"""

import errno
import os
import select


def plan(keyboard, network, left):
    if (keyboard | network) & select.POLLNVAL:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if network in (select.POLLIN | select.POLLRDHUP, select.POLLHUP):
        return ["drain", "leave"]
    steps = ["print"] if network & select.POLLIN else []
    if left:
        steps += ["flush"] if network & select.POLLOUT else []
    elif keyboard & select.POLLIN:
        steps.append("take")
    elif keyboard:
        steps.append("half-close")
    return steps

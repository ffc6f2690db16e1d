"""RDHUP is handled before IN, and the last words are lost: as in many textbooks.

check: test_last_words_come_before_the_close
says: leaving before the last words are drained
"""

import errno
import os
import select


def plan(keyboard, network, left):
    if (keyboard | network) & select.POLLNVAL:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if network & ENDED:
        return ["leave"]
    steps = ["print"] if network & select.POLLIN else []
    if left:
        steps += ["flush"] if network & select.POLLOUT else []
    elif keyboard & select.POLLIN:
        steps.append("take")
    elif keyboard:
        steps.append("half-close")
    return steps

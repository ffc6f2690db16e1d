"""Only IN is looked at on the keyboard: the end of a pipe, HUP alone, is not.

check: test_the_end_of_the_keyboard
says: only IN looked at
"""

import errno
import os
import select


def plan(keyboard, network, left):
    if (keyboard | network) & select.POLLNVAL:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if network & ENDED:
        return ["drain", "leave"]
    steps = ["print"] if network & select.POLLIN else []
    if left:
        steps += ["flush"] if network & select.POLLOUT else []
    elif keyboard & select.POLLIN:
        steps.append("take")
    return steps

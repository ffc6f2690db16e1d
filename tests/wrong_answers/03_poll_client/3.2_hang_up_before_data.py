"""On the keyboard HUP is looked at before IN.

check: test_the_end_of_the_keyboard
says: HUP before IN
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
    elif keyboard & (select.POLLHUP | select.POLLERR):
        steps.append("half-close")
    elif keyboard:
        steps.append("take")
    return steps

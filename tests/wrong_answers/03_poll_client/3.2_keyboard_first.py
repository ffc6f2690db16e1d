"""The keyboard is looked at before the network.

check: test_printing_comes_first
says: the keyboard first
"""

import errno
import os
import select


def plan(keyboard, network, left):
    if (keyboard | network) & select.POLLNVAL:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if network & ENDED:
        return ["drain", "leave"]
    steps = []
    if left:
        steps += ["flush"] if network & select.POLLOUT else []
    elif keyboard & select.POLLIN:
        steps.append("take")
    elif keyboard:
        steps.append("half-close")
    return steps + (["print"] if network & select.POLLIN else [])

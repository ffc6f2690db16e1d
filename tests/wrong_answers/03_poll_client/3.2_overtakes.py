"""What is left in the pipe does not keep the keyboard from being taken, or ended.

check: test_what_is_left_goes_first
says: that overtake what is left in the pipe
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
    if left and network & select.POLLOUT:
        steps.append("flush")
    if keyboard & select.POLLIN:
        steps.append("take")
    elif keyboard:
        steps.append("half-close")
    return steps

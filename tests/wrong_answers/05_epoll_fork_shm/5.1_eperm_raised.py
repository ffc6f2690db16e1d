"""A file is refused, as epoll does it.

check: test_a_regular_file
says: EPERM raised or swallowed
"""

import errno
import select


class EpollPoller:
    def __init__(self):
        self.epoll = select.epoll()
        self.known = set()
        self.files = {}  # those that epoll refuses, since they are always ready: what they were asked for

    def register(self, fd, events):
        fd = number_of(fd)
        self.files.pop(fd, None)
        try:
            self.epoll.register(fd, events)
        except FileExistsError:
            self.epoll.modify(fd, events)
        self.known.add(fd)

    def unregister(self, fd):
        fd = number_of(fd)
        self.known.remove(fd)
        if self.files.pop(fd, None) is not None:
            return
        try:
            self.epoll.unregister(fd)
        except OSError as error:
            # Closed, and perhaps another file by now: then the kernel has forgotten it already.
            if error.errno not in (errno.EBADF, errno.ENOENT, errno.EPERM):
                raise

    def poll(self, timeout=None):
        ready = [(fd, events) for fd, events in self.files.items() if events]
        if ready:
            return ready + self.epoll.poll(0)
        return self.epoll.poll(-1 if timeout is None or timeout < 0 else timeout / 1000)

    def close(self):
        self.epoll.close()

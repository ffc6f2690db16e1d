"""A buffer of which a part was taken is done with.

check: test_a_full_socket
says: sendmsg returns how much it has taken
"""

import itertools
import select
from collections import deque


class OutputQueue:
    def __init__(self):
        self.buffers = deque()
        self.bytes = 0

    def push(self, buffer):
        self.buffers.append(buffer)
        self.bytes += len(buffer)

    def pending(self):
        return self.bytes

    def events(self):
        return select.POLLOUT if self.bytes else 0

    def flush(self, sock):
        before = self.bytes
        while self.buffers:
            batch = list(itertools.islice(self.buffers, IOV_MAX))
            try:
                taken = sock.sendmsg(batch)
            except BlockingIOError:
                break
            self.forget(taken)
            if taken < sum(map(len, batch)):
                break
        return before - self.bytes

    def forget(self, taken):
        while taken > 0:
            buffer = self.buffers.popleft()
            self.bytes -= len(buffer)
            taken -= len(buffer)

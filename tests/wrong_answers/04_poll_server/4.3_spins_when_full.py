"""It tries until there is room.

check: test_a_socket_that_takes_nothing
says: goes on until there is room
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
                continue
            self.forget(taken)
            if taken < sum(map(len, batch)):
                break
        return before - self.bytes

    def forget(self, taken):
        self.bytes -= taken
        while taken:
            buffer = self.buffers.popleft()
            if taken < len(buffer):
                self.buffers.appendleft(memoryview(buffer)[taken:])
                return
            taken -= len(buffer)

"""POLLOUT is asked for when nothing is pending.

check: test_many_buffers_in_one_call
says: POLLOUT left on with nothing to send
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
        return select.POLLOUT

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
        self.bytes -= taken
        while taken:
            buffer = self.buffers.popleft()
            if taken < len(buffer):
                self.buffers.appendleft(memoryview(buffer)[taken:])
                return
            taken -= len(buffer)

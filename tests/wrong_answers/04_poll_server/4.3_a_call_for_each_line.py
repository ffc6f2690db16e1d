"""Each line is sent by a call of its own.

check: test_many_buffers_in_one_call
says: a call for each line
"""

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
            try:
                taken = sock.send(self.buffers[0])
            except BlockingIOError:
                break
            self.forget(taken)
        return before - self.bytes

    def forget(self, taken):
        self.bytes -= taken
        while taken:
            buffer = self.buffers.popleft()
            if taken < len(buffer):
                self.buffers.appendleft(memoryview(buffer)[taken:])
                return
            taken -= len(buffer)

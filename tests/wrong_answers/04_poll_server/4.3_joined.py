"""All that is pending is joined before it is sent.

check: test_buffers_are_shared
says: lines joined before they are sent
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
        if not self.buffers:
            return 0
        whole = b"".join(self.buffers)
        try:
            taken = sock.sendmsg([whole])
        except BlockingIOError:
            return 0
        self.buffers = deque([whole[taken:]] if taken < len(whole) else [])
        self.bytes -= taken
        return taken

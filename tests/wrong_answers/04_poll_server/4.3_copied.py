"""Each queue copies its lines into a bytearray of its own.

check: test_buffers_are_shared
says: a copy for each queue
"""

import select


class OutputQueue:
    def __init__(self):
        self.data = bytearray()

    def push(self, buffer):
        self.data += buffer

    def pending(self):
        return len(self.data)

    def events(self):
        return select.POLLOUT if self.data else 0

    def flush(self, sock):
        if not self.data:
            return 0
        try:
            taken = sock.sendmsg([self.data])
        except BlockingIOError:
            return 0
        del self.data[:taken]
        return taken

"""The worker keeps its own copy of the parent's end, and so never sees end of file.

check: test_it_ends_by_end_of_file_alone
says: a copy of the end is still open somewhere
"""

import os
import socket


class Worker:
    living = set()

    def __init__(self, task):
        self.status = None
        self.sock, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            for worker in Worker.living:
                worker.sock.close()
            leave_after(lambda: task(theirs))
        theirs.close()
        Worker.living.add(self)

    def end(self):
        if self.status is None:
            Worker.living.discard(self)
            self.sock.close()
            self.status = reap(self.pid)
        return self.status

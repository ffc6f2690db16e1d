"""A worker made later keeps its copy of the earlier one's end.

check: test_the_first_ends_while_others_live
says: the second worker was forked with a copy of the first one's sock
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
            self.sock.close()
            leave_after(lambda: task(theirs))
        theirs.close()
        Worker.living.add(self)

    def end(self):
        if self.status is None:
            Worker.living.discard(self)
            self.sock.close()
            self.status = reap(self.pid)
        return self.status

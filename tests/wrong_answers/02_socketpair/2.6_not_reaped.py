"""end() does not wait, and always says 0.

check: test_nothing_is_left
says: no waitpid in end()
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
            for worker in (self, *Worker.living):
                worker.sock.close()
            leave_after(lambda: task(theirs))
        theirs.close()
        Worker.living.add(self)

    def end(self):
        if self.status is None:
            Worker.living.discard(self)
            self.sock.close()
            self.status = 0
        return self.status

"""The parent keeps the worker's end, and so does not see the worker die.

check: test_its_death_is_seen
says: the parent still holds the worker's end too
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
        self.theirs = theirs
        Worker.living.add(self)

    def end(self):
        if self.status is None:
            Worker.living.discard(self)
            self.sock.close()
            self.theirs.close()
            self.status = reap(self.pid)
        return self.status

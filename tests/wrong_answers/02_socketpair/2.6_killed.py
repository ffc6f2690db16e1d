"""The worker is ended by SIGTERM.

check: test_it_ends_by_end_of_file_alone
says: a worker that is killed
"""

import os
import signal
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
            os.kill(self.pid, signal.SIGTERM)
            self.sock.close()
            self.status = reap(self.pid)
        return self.status

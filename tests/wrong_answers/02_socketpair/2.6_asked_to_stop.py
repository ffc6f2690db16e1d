"""The worker is sent a message that asks it to stop.

check: test_it_ends_by_end_of_file_alone
says: a message that asks the worker to stop
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
            self.sock.sendall(b"quit")
            self.sock.close()
            self.status = reap(self.pid)
        return self.status

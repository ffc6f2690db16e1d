"""At the end the workers are killed, whatever they have in hand.

check: test_it_ends_by_closing
says: workers that are killed
"""

import os
import signal


class Crew:
    def __init__(self, task, size):
        self.task, self.workers, self.free, self.statuses = task, [], [], {}
        for _ in range(size):
            self.hire()

    def hire(self):
        self.workers.append(Worker(self.task))
        self.free.append(self.workers[-1])

    def hear(self, worker):
        kind, _ = classify_recv(worker.sock, 1)
        if kind == "data":
            self.free.append(worker)
        else:
            self.replace(worker)

    def replace(self, worker):
        self.statuses[worker.pid] = worker.end()
        self.workers.remove(worker)
        if worker in self.free:
            self.free.remove(worker)
        self.hire()

    def end(self):
        for worker in self.workers:
            os.kill(worker.pid, signal.SIGTERM)
        return self.statuses | {worker.pid: worker.end() for worker in self.workers}

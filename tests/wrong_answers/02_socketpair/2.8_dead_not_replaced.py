"""A dead worker is reaped, but no other takes its place.

check: test_a_dead_worker_costs_its_connection_only
says: a dead worker that is not replaced
"""


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

    def end(self):
        return self.statuses | {worker.pid: worker.end() for worker in self.workers}

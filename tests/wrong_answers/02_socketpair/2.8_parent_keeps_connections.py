"""The parent keeps a copy of every connection, so that clients never see the end.

check: test_a_dead_worker_costs_its_connection_only
says: a copy of the connection kept in the parent
"""

import contextlib
import select


class Pool:
    def __init__(self, answer, size):
        self.crew = Crew(lambda channel: work(channel, answer), size)
        self.connections = []

    def serve(self, listener, control):
        while True:
            watched = [control, *(worker.sock for worker in self.crew.workers)]
            if self.crew.free:
                watched.append(listener)
            ready, _, _ = select.select(watched, [], [])
            if control in ready:
                return self.crew.end()
            for worker in [worker for worker in self.crew.workers if worker.sock in ready]:
                self.crew.hear(worker)
            if listener in ready:
                self.hand_over(listener.accept()[0])

    def hand_over(self, connection):
        self.connections.append(connection.dup())
        with contextlib.suppress(BrokenPipeError):
            send_connection(self.crew.free.pop(0).sock, connection)

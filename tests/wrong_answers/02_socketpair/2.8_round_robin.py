"""Each connection goes to the next worker in turn, free or not.

check: test_a_connection_waits_for_a_free_worker
says: a connection handed to a worker that is busy
"""

import contextlib
import select


class Pool:
    def __init__(self, answer, size):
        self.crew = Crew(lambda channel: work(channel, answer), size)

    def serve(self, listener, control):
        while True:
            watched = [control, listener, *(worker.sock for worker in self.crew.workers)]
            ready, _, _ = select.select(watched, [], [])
            if control in ready:
                return self.crew.end()
            for worker in [worker for worker in self.crew.workers if worker.sock in ready]:
                self.crew.hear(worker)
            if listener in ready:
                self.hand_over(listener.accept()[0])

    def hand_over(self, connection):
        worker = self.crew.workers.pop(0)
        self.crew.workers.append(worker)
        with connection, contextlib.suppress(BrokenPipeError):
            send_connection(worker.sock, connection)

"""The time is counted from when the queue was full.

check: test_a_slow_reader_may_stay
says: who reads, slowly, is a reader
"""


class BackPressure:
    def __init__(self, limit, stall_seconds):
        self.limit, self.stall_seconds = limit, stall_seconds
        self.full = {}  # client: (bytes that were pending last, when they last became fewer)

    def update(self, client, pending, now):
        if pending <= self.limit * 3 / 4:
            self.full.pop(client, None)
        elif client in self.full:
            _, since = self.full[client]
            self.full[client] = (pending, since)
        elif pending >= self.limit:
            self.full[client] = (pending, now)

    def left(self, client):
        self.full.pop(client, None)

    def senders_wait(self):
        return bool(self.full)

    def stalled(self, now):
        return [client for client, (_, since) in self.full.items() if now - since >= self.stall_seconds]

    def wait_seconds(self, now):
        if not self.full:
            return None
        return max(0.0, min(since for _, since in self.full.values()) + self.stall_seconds - now)

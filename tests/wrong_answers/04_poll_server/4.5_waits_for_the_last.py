"""poll sleeps until the last one has to go.

check: test_each_has_its_own_time
says: a wait that does not end when the first one has to go
"""


class BackPressure:
    def __init__(self, limit, stall_seconds):
        self.limit, self.stall_seconds = limit, stall_seconds
        self.full = {}  # client: (bytes that were pending last, when they last became fewer)

    def update(self, client, pending, now):
        if pending <= self.limit * 3 / 4:
            self.full.pop(client, None)
        elif client in self.full:
            before, since = self.full[client]
            self.full[client] = (pending, now if pending < before else since)
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
        return max(0.0, max(since for _, since in self.full.values()) + self.stall_seconds - now)

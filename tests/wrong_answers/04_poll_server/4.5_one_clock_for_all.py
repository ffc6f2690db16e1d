"""There is one clock for the room.

check: test_each_has_its_own_time
says: each queue has its own
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
        since = min([since for _, since in self.full.values()], default=now)
        return list(self.full) if now - since >= self.stall_seconds else []

    def wait_seconds(self, now):
        if not self.full:
            return None
        return max(0.0, min(since for _, since in self.full.values()) + self.stall_seconds - now)

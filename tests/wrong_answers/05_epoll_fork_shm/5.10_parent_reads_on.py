"""The parent reads on although a ring is full, and keeps what there is no room for.

check: test_a_slow_reader_loses_nothing
says: a parent that reads on although somebody's ring is full
"""


def give(self, lines):
    self.pending += lines if self.here else b""
    self.flush()
    return True


def flush_and_go_on(self):
    taken = self.heard.write(self.pending)
    if taken:
        self.pending = self.pending[taken:]
        self.bell.ring()
    return True


def serve(listener, max_clients):
    Child.give, Child.flush = give, flush_and_go_on
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()

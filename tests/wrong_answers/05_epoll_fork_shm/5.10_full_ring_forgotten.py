"""What a full ring did not take is thrown away.

check: test_a_slow_reader_loses_nothing
says: what has no room is lost
"""


def give(self, lines):
    if self.here and self.heard.write(lines):
        self.bell.ring()
    return True


def serve(listener, max_clients):
    Child.give = give
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()

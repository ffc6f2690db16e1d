"""What a ring holds is passed on as it is, without a look for lines.

check: test_lines
says: of a line before its newline is there
"""


def chunks(self):
    data = self.said.read(RING_BYTES)
    if data:
        self.bell.ring()
    return data


def serve(listener, max_clients):
    Child.lines = chunks
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()

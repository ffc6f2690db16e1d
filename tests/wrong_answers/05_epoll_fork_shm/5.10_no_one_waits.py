"""A child that has ended is taken out of the table, and not waited for.

check: test_children
says: zombie
"""


def bury(self, child):
    child.heard.read(RING_BYTES)
    del self.children[child.bell.fileno()]
    child.bell.sock.close()
    self.slots.free(child.handle)


def serve(listener, max_clients):
    ForkRoom.bury = bury
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()

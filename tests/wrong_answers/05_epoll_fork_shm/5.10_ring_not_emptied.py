"""A slot is given on with its rings as they are.

check: test_slots_are_used_again
says: what its last owner had not said, or not heard
"""

import os


def bury(self, child):
    os.waitpid(child.pid, 0)
    del self.children[child.bell.fileno()]
    child.bell.sock.close()
    self.slots.free(child.handle)


def serve(listener, max_clients):
    ForkRoom.bury = bury
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()

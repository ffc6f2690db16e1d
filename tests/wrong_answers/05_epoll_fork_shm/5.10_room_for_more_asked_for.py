"""Each child asks for EPOLLOUT all the time.

check: test_everybody_sleeps
says: in 0.2 s it woke
"""

import select


def watch(self):
    self.poller.register(self.client, select.EPOLLIN | select.EPOLLOUT)


def serve(listener, max_clients):
    ClientProcess.watch = watch
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()

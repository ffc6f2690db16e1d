"""A child whose ring is full goes on asking its client.

check: test_a_slow_reader_loses_nothing
says: a child that asks again and again
"""

import select


def watch(self):
    events = select.EPOLLIN | (select.EPOLLOUT if self.unsent else 0)
    if self.speaks:
        self.poller.register(self.client, events)


def serve(listener, max_clients):
    ClientProcess.watch = watch
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()

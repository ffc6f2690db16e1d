"""A send that fails, to one who has closed and is not polled any more, ends the room.

check: test_clients_that_are_gone
says: an error of one client's connection that ends the room
"""

import time


class WrongRoom(Room):
    def wanted(self, client, quiet):
        return super().wanted(client, quiet) or None

    def flush(self, client):
        client.queue.flush(client.sock)
        self.pressure.update(client, client.queue.pending(), time.monotonic())


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = WrongRoom(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()

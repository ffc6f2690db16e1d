"""Everybody is read, whatever the others have still to be sent.

check: test_senders_wait
says: senders read although a queue is full
"""


class WrongRoom(Room):
    def wanted(self, client, quiet):
        return super().wanted(client, False)


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = WrongRoom(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()

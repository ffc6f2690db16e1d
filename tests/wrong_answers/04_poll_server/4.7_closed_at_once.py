"""A notice is sent, and the connection closed at once.

check: test_notices
says: a close with bytes unread
"""


class WrongRoom(Room):
    def finish_dismissal(self, client):
        self.close(client)


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = WrongRoom(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()

"""A FIN closes the connection.

check: test_half_close
says: a half-close taken for a close
"""


class WrongRoom(Room):
    def hear_end(self, client):
        last = client.reader.finish()
        self.close(client)
        return last


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = WrongRoom(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()

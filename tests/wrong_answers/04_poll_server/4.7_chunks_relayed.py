"""What recv gives is relayed as it comes.

check: test_lines
says: instead of lines
"""


class WrongRoom(Room):
    def read(self, client):
        """No lines: chunks."""
        try:
            return client.sock.recv(RECEIVE_BYTES) or self.hear_end(client)
        except OSError:
            self.close(client)
            return b""


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = WrongRoom(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()

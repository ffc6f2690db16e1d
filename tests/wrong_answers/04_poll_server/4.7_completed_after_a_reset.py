"""An unfinished line is completed after a reset too.

check: test_clients_that_are_gone
says: completed after a reset
"""


class WrongRoom(Room):
    def read(self, client):
        said = super().read(client)
        return said if client.fd in self.clients else said + client.reader.finish()


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = WrongRoom(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()

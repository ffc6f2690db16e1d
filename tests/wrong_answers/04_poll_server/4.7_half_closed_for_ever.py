"""Who has half-closed stays for ever.

check: test_half_close_has_an_end
says: a half-close without a deadline
"""


class WrongRoom(Room):
    def __init__(self, listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
        super().__init__(listener, max_clients, queue_bytes, stall_seconds, 1e6)


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = WrongRoom(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()

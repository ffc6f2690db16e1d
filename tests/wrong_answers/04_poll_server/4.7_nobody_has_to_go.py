"""A client that never reads may stay.

check: test_a_reader_that_never_reads
says: for whom the whole room waits for ever
"""


class WrongRoom(Room):
    def evict(self, client):
        """Let it stay."""


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = WrongRoom(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()

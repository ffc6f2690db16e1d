"""The listener is polled although there is no descriptor.

check: test_no_descriptor_left
says: a listener that is polled while there is no descriptor
"""


class WrongRoom(Room):
    def welcome(self):
        newcomers = super().welcome()
        self.wake_listener()
        return newcomers


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = WrongRoom(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()

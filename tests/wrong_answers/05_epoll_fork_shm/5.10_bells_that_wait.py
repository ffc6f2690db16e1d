"""A doorbell that is full waits until its child has heard.

check: test_children
says: go on while a child is frozen
"""

import socket


class WaitingBell:
    def __init__(self, sock):
        self.sock = sock
        sock.setblocking(True)

    def fileno(self):
        return self.sock.fileno()

    def ring(self):
        try:
            self.sock.send(b".")
        except OSError:
            return False
        return True

    def hear(self, look):
        try:
            rings = self.sock.recv(RINGS_AT_ONCE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            rings = b""
        look()
        return bool(rings)


def serve(listener, max_clients):
    globals()["Doorbell"] = WaitingBell
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()

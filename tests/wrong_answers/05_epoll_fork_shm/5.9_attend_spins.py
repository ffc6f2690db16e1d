"""attend hears again and again, and never sleeps.

check: test_attend_loses_none
says: without a sleep in between
"""


class Doorbell:
    def __init__(self, sock):
        self.sock = sock
        sock.setblocking(False)

    def fileno(self):
        return self.sock.fileno()

    def ring(self):
        try:
            self.sock.send(b".")
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def hear(self, look):
        try:
            rings = self.sock.recv(RINGS_AT_ONCE)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            rings = b""
        look()
        return bool(rings)

    def attend(self, look):
        while self.hear(look):
            pass

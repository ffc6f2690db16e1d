"""One ring is taken at a time, and looked for.

check: test_many_rings_are_one
says: one ring taken at a time
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
            rings = self.sock.recv(1)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            rings = b""
        look()
        return bool(rings)

    def attend(self, look):
        with select.epoll() as poller:
            poller.register(self, select.EPOLLIN)
            while self.hear(look):
                poller.poll()

"""It looks first, and then takes the rings: also the one that came in between.

check: test_a_ring_that_comes_while_you_look
says: look, then drain
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
        if not select.select([self], [], [], 0)[0]:
            return True
        look()
        try:
            return bool(self.sock.recv(RINGS_AT_ONCE))
        except ConnectionResetError:
            return False

    def attend(self, look):
        with select.epoll() as poller:
            poller.register(self, select.EPOLLIN)
            while self.hear(look):
                poller.poll()

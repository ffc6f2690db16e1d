"""The other side has gone with rings of ours unheard, which is another error than the end of file.

check: test_the_end_is_told
says: ECONNRESET not caught
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
        look()
        return bool(rings)

    def attend(self, look):
        with select.epoll() as poller:
            poller.register(self, select.EPOLLIN)
            while self.hear(look):
                poller.poll()

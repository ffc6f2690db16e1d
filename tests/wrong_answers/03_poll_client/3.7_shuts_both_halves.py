"""At the end of the source both halves are shut down.

check: test_the_end_comes_last
says: SHUT_RDWR, or a close
"""


class Uplink:
    def __init__(self, source_fd, sock):
        self.source_fd, self.sock = source_fd, sock
        self.reading, self.writing = os.pipe()
        self.left = 0
        self.ended = self.done = False

    def events(self):
        if self.left:
            return 0, select.POLLOUT
        return 0 if self.ended else select.POLLIN, 0

    def turn(self, source_revents, sock_revents):
        if source_revents and not self.left and not self.ended:
            self.take()
        if self.left:
            self.flush()
        if self.ended and not self.left and not self.done:
            self.sock.shutdown(socket.SHUT_RDWR)
            self.done = True

    def take(self):
        try:
            self.left = os.splice(self.source_fd, self.writing, PIPE_BYTES)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self.left = os.write(self.writing, os.read(self.source_fd, select.PIPE_BUF))
        self.ended = self.left == 0

    def flush(self):
        with contextlib.suppress(BlockingIOError):
            self.left -= os.splice(self.reading, self.sock.fileno(), self.left)

    def close(self):
        for fd in (self.reading, self.writing):
            if fd is not None:
                os.close(fd)
        self.reading = self.writing = None

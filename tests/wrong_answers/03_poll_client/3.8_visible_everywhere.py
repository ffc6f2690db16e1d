"""Bytes are made visible also where no terminal is.

check: test_a_conversation
says: bytes changed where nobody can be fooled by them
"""


class Screen:
    def __init__(self, fd):
        self.fd = fd
        self.visible = Visible()

    def show(self, data):
        write_all(self.fd, (self.visible.feed(data) if data else self.visible.end()).encode())

"""A stranger's bytes go to the terminal as they are.

check: test_on_a_terminal
says: a stranger's bytes printed as they are
"""


class Screen:
    def __init__(self, fd):
        self.fd = fd

    def show(self, data):
        write_all(self.fd, data)

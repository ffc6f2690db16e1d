"""One field for everybody.

check: test_nothing_is_lost
says: one field for all
"""

import mmap


class Tally:
    def __init__(self, writers):
        self.memory = mmap.mmap(-1, writers * LINE_WORDS * 8)
        self.words = memoryview(self.memory).cast("Q")

    def add(self, writer, amount=1):
        self.words[0] += amount

    def total(self):
        return self.words[0]

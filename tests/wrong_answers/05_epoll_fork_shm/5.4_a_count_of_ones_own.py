"""Each process keeps its count, and stores it.

check: test_a_number_is_taken_over
says: a count of one's own beside the memory
"""

import mmap


class Tally:
    def __init__(self, writers):
        self.counts = [0] * writers
        self.memory = mmap.mmap(-1, writers * LINE_WORDS * 8)
        self.words = memoryview(self.memory).cast("Q")

    def add(self, writer, amount=1):
        self.counts[writer] += amount
        self.words[writer * LINE_WORDS] = self.counts[writer]

    def total(self):
        return sum(self.words[::LINE_WORDS])

"""A field of two halves, which are stored one after the other.

check: test_the_total_never_goes_back
says: stored piece by piece
"""

import mmap

HALF = 2**32


class Tally:
    def __init__(self, writers):
        self.memory = mmap.mmap(-1, writers * LINE_WORDS * 8)
        self.halves = memoryview(self.memory).cast("I")

    def add(self, writer, amount=1):
        place = 2 * writer * LINE_WORDS
        count = self.halves[place] + HALF * self.halves[place + 1] + amount
        self.halves[place] = 0
        self.halves[place + 1] = count // HALF
        self.halves[place] = count % HALF

    def total(self):
        return sum(self.halves[:: 2 * LINE_WORDS]) + HALF * sum(self.halves[1 :: 2 * LINE_WORDS])

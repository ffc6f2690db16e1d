"""A lock around each addition.

check: test_nothing_is_lost
says: a lock: who holds it is frozen
"""

import mmap
import multiprocessing


class Tally:
    def __init__(self, writers):
        self.lock = multiprocessing.Lock()
        self.memory = mmap.mmap(-1, writers * LINE_WORDS * 8)
        self.words = memoryview(self.memory).cast("Q")

    def add(self, writer, amount=1):
        with self.lock:
            self.words[0] += amount

    def total(self):
        return self.words[0]

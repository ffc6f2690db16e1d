"""Shared memory with a name.

check: test_processes_count_together
says: shared memory with a name
"""

import multiprocessing.shared_memory as named


class Tally:
    def __init__(self, writers):
        self.memory = named.SharedMemory(create=True, size=writers * LINE_WORDS * 8)
        self.words = self.memory.buf.cast("Q")

    def add(self, writer, amount=1):
        self.words[writer * LINE_WORDS] += amount

    def total(self):
        return sum(self.words[::LINE_WORDS])

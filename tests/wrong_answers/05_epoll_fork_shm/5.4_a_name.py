"""Shared memory with a name.

check: test_processes_count_together
says: shared memory with a name
"""

from multiprocessing import shared_memory


class Tally:
    def __init__(self, writers):
        self.memory = shared_memory.SharedMemory(create=True, size=writers * LINE_WORDS * 8)
        self.words = self.memory.buf.cast("Q")

    def add(self, writer, amount=1):
        self.words[writer * LINE_WORDS] += amount

    def total(self):
        return sum(self.words[::LINE_WORDS])

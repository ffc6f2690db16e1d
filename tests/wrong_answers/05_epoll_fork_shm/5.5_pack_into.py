"""Positions are stored by struct.pack_into, which clears them first.

check: test_a_writer_stopped_anywhere
says: a position that is 0 for a moment
"""

import struct


class Ring:
    def __init__(self, memory):
        self.memory = memory
        self.words = memory[:HEAD_BYTES].cast("Q")
        self.ring = memory[HEAD_BYTES:]
        self.size = len(self.ring)

    WRITTEN, READ = 0, LINE_WORDS  # where the positions are, in words

    def write(self, data):
        data = memoryview(data).cast("B")
        written = self.words[self.WRITTEN]
        count = min(len(data), self.size - (written - self.words[self.READ]))
        place = written % self.size
        first = min(count, self.size - place)
        self.ring[place : place + first] = data[:first]
        self.ring[: count - first] = data[first:count]
        struct.pack_into("Q", self.memory, 0, written + count)
        return count

    def read(self, limit):
        read = self.words[self.READ]
        count = min(limit, self.words[self.WRITTEN] - read)
        place = read % self.size
        first = min(count, self.size - place)
        data = bytes(self.ring[place : place + first]) + bytes(self.ring[: count - first])
        self.words[self.READ] = read + count
        return data

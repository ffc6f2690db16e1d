"""struct.pack_into, which clears the field before it fills it.

check: test_the_total_never_goes_back
says: a field that is cleared before it is filled
"""

import mmap
import struct


class Tally:
    def __init__(self, writers):
        self.memory = mmap.mmap(-1, writers * LINE_WORDS * 8)
        self.words = memoryview(self.memory).cast("Q")

    def add(self, writer, amount=1):
        place = writer * LINE_WORDS * 8
        [count] = struct.unpack_from("Q", self.memory, place)
        struct.pack_into("Q", self.memory, place, count + amount)

    def total(self):
        return sum(self.words[::LINE_WORDS])

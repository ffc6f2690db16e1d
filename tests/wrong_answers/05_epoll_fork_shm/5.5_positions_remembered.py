"""Each object remembers its own position, and only stores it.

check: test_all_is_in_the_memory
says: a position remembered in the object
"""


class Ring:
    def __init__(self, memory):
        self.words = memory[:HEAD_BYTES].cast("Q")
        self.ring = memory[HEAD_BYTES:]
        self.size = len(self.ring)
        self.written, self.read_so_far = self.words[self.WRITTEN], self.words[self.READ]

    WRITTEN, READ = 0, LINE_WORDS  # where the positions are, in words

    def write(self, data):
        data = memoryview(data).cast("B")
        written = self.written
        count = min(len(data), self.size - (written - self.words[self.READ]))
        place = written % self.size
        first = min(count, self.size - place)
        self.ring[place : place + first] = data[:first]
        self.ring[: count - first] = data[first:count]
        self.words[self.WRITTEN] = self.written = written + count
        return count

    def read(self, limit):
        read = self.read_so_far
        count = min(limit, self.words[self.WRITTEN] - read)
        place = read % self.size
        first = min(count, self.size - place)
        data = bytes(self.ring[place : place + first]) + bytes(self.ring[: count - first])
        self.words[self.READ] = self.read_so_far = read + count
        return data

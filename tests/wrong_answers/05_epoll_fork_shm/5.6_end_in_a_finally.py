"""END is stored also when fill has failed.

check: test_a_writer_that_dies_leaves_it_torn
says: END stored in a `finally`
"""


class Cells:
    def __init__(self, memory, count, size):
        self.count = count
        self.bytes = memoryview(memory)
        self.words = self.bytes.cast("Q")
        self.cell_bytes = 3 * WORD_BYTES + size
        self.size = size

    def places(self, number):
        """The indices of BEGIN, LENGTH and END among the words, and the view of the bytes between them."""
        start = number % self.count * self.cell_bytes
        begin, end = start // WORD_BYTES, (start + self.cell_bytes) // WORD_BYTES - 1
        first = start + 2 * WORD_BYTES
        return begin, begin + 1, end, self.bytes[first : first + self.size]

    def write(self, number, fill):
        begin, length, end, view = self.places(number)
        self.words[begin] = number
        count = 0
        try:
            count = fill(view)
        finally:
            self.words[length] = count
            self.words[end] = number
        return count

    def read(self, number, use):
        begin, length, end, view = self.places(number)
        if self.words[begin] < number:
            return "early", None
        if self.words[begin] > number:
            return "overrun", None
        if self.words[end] != number:
            return "torn", None
        result = use(view[: self.words[length]])
        if self.words[begin] != number:
            return "overrun", None
        return "good", result

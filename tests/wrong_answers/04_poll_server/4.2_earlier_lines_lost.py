"""The lines before the one that is too long are lost.

check: test_a_line_too_long
says: the lines of the same chunk lost
"""


class LineReader:
    def __init__(self, limit=MAX_LINE_BYTES):
        self.limit = limit
        self.partial = bytearray()

    def feed(self, chunk):
        *ends, rest = chunk.split(b"\n")
        lines = []
        for end in ends:
            self.extend(end)
            lines.append(bytes(self.partial) + b"\n")
            self.partial.clear()
        self.extend(rest)
        return lines

    def extend(self, piece):
        self.partial += piece
        if len(self.partial) >= self.limit:
            raise LineTooLong([])

    def finish(self):
        line = bytes(self.partial) + b"\n" if self.partial else b""
        self.partial.clear()
        return line

    def drop(self):
        dropped = len(self.partial)
        self.partial.clear()
        return dropped

"""An empty line is made up when nothing was left.

check: test_how_the_client_has_left
says: an empty line made up
"""


class LineReader:
    def __init__(self, limit=MAX_LINE_BYTES):
        self.limit = limit
        self.partial = bytearray()

    def feed(self, chunk):
        *ends, rest = chunk.split(b"\n")
        lines = []
        for end in ends:
            self.extend(end, lines)
            lines.append(bytes(self.partial) + b"\n")
            self.partial.clear()
        self.extend(rest, lines)
        return lines

    def extend(self, piece, lines):
        self.partial += piece
        if len(self.partial) >= self.limit:
            raise LineTooLong(lines)

    def finish(self):
        line = bytes(self.partial) + b"\n"
        self.partial.clear()
        return line

    def drop(self):
        dropped = len(self.partial)
        self.partial.clear()
        return dropped

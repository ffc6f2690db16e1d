"""The rest of the chunk is copied for each line in it.

check: test_the_work_grows_with_the_bytes
says: the rest of the chunk copied for each line
"""


class LineReader:
    def __init__(self, limit=MAX_LINE_BYTES):
        self.limit = limit
        self.partial = bytearray()

    def feed(self, chunk):
        lines = []
        while b"\n" in chunk:
            end, _, chunk = chunk.partition(b"\n")
            self.extend(end, lines)
            lines.append(bytes(self.partial) + b"\n")
            self.partial.clear()
        self.extend(chunk, lines)
        return lines

    def extend(self, piece, lines):
        self.partial += piece
        if len(self.partial) >= self.limit:
            raise LineTooLong(lines)

    def finish(self):
        line = bytes(self.partial) + b"\n" if self.partial else b""
        self.partial.clear()
        return line

    def drop(self):
        dropped = len(self.partial)
        self.partial.clear()
        return dropped

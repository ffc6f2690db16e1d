"""One line is cut from each chunk.

check: test_many_lines_at_once
says: one line for each chunk
"""


class LineReader:
    def __init__(self, limit=MAX_LINE_BYTES):
        self.limit = limit
        self.partial = bytearray()

    def feed(self, chunk):
        self.partial += chunk
        line, newline, rest = self.partial.partition(b"\n")
        if not newline:
            return []
        self.partial = rest
        return [bytes(line + newline)]

    def finish(self):
        line = bytes(self.partial) + b"\n" if self.partial else b""
        self.partial.clear()
        return line

    def drop(self):
        dropped = len(self.partial)
        self.partial.clear()
        return dropped

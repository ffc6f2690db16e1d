"""Only finished lines are measured.

check: test_a_line_too_long
says: only finished lines measured
"""


class LineReader:
    def __init__(self, limit=MAX_LINE_BYTES):
        self.limit = limit
        self.partial = bytearray()

    def feed(self, chunk):
        *ends, rest = chunk.split(b"\n")
        lines = []
        for end in ends:
            line = bytes(self.partial) + end + b"\n"
            self.partial.clear()
            if len(line) > self.limit:
                raise LineTooLong(lines)
            lines.append(line)
        self.partial += rest
        return lines

    def finish(self):
        line = bytes(self.partial) + b"\n" if self.partial else b""
        self.partial.clear()
        return line

    def drop(self):
        dropped = len(self.partial)
        self.partial.clear()
        return dropped

"""Lines are cut by splitlines, which takes a carriage return for an end too.

check: test_a_byte_at_a_time
says: a carriage return taken for an end too
"""


class LineReader:
    def __init__(self, limit=MAX_LINE_BYTES):
        self.limit = limit
        self.partial = bytearray()

    def feed(self, chunk):
        lines = []
        for piece in chunk.splitlines(keepends=True):
            self.partial += piece
            if len(self.partial) > self.limit:
                raise LineTooLong(lines)
            if piece.endswith((b"\n", b"\r")):
                lines.append(bytes(self.partial))
                self.partial.clear()
        return lines

    def finish(self):
        line = bytes(self.partial) + b"\n" if self.partial else b""
        self.partial.clear()
        return line

    def drop(self):
        dropped = len(self.partial)
        self.partial.clear()
        return dropped

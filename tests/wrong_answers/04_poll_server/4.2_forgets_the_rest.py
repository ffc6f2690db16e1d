"""What has come of an unfinished line is forgotten with its chunk.

check: test_a_byte_at_a_time
says: forgotten between two chunks
"""


class LineReader:
    def __init__(self, limit=MAX_LINE_BYTES):
        self.limit = limit
        self.partial = bytearray()

    def feed(self, chunk):
        return [line + b"\n" for line in chunk.split(b"\n")[:-1]]

    def finish(self):
        line = bytes(self.partial) + b"\n" if self.partial else b""
        self.partial.clear()
        return line

    def drop(self):
        dropped = len(self.partial)
        self.partial.clear()
        return dropped

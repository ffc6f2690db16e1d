"""All that is kept is searched again with each chunk.

check: test_the_work_grows_with_the_bytes
says: all that is kept copied (kept + chunk) or searched
"""


class LineReader:
    def __init__(self, limit=MAX_LINE_BYTES):
        self.limit = limit
        self.partial = bytearray()

    def feed(self, chunk):
        self.partial += chunk
        lines, start = [], 0
        while (end := self.partial.find(b"\n", start) + 1) and end - start <= self.limit:
            lines.append(bytes(self.partial[start:end]))
            start = end
        del self.partial[:start]
        if end or len(self.partial) >= self.limit:
            raise LineTooLong(lines)
        return lines

    def finish(self):
        line = bytes(self.partial) + b"\n" if self.partial else b""
        self.partial.clear()
        return line

    def drop(self):
        dropped = len(self.partial)
        self.partial.clear()
        return dropped

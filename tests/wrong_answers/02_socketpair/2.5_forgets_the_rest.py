"""Each feed starts anew: an unfinished frame is thrown away.

check: test_one_byte_at_a_time
says: bytes of an unfinished frame thrown away
"""


class FrameReader:
    def __init__(self, limit):
        self.limit = limit
        self.pending = bytearray()

    def feed(self, data):
        self.pending = bytearray(data)
        frames = []
        while len(self.pending) >= PREFIX.size:
            end = self.frame_end()
            if len(self.pending) < end:
                break
            frames.append(bytes(self.pending[PREFIX.size : end]))
            del self.pending[:end]
        return frames

    def frame_end(self):
        (length,) = PREFIX.unpack_from(self.pending)
        if length > self.limit:
            raise FrameTooLong(f"a frame of {length} bytes, where {self.limit} are allowed")
        return PREFIX.size + length

    def end(self):
        if self.pending:
            whole = self.frame_end() if len(self.pending) >= PREFIX.size else PREFIX.size
            raise EndedEarly(len(self.pending), whole)

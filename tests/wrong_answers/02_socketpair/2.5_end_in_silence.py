"""The end of the stream is never an error.

check: test_the_end_in_the_middle
says: half a frame dropped in silence
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
        if length > self.limit:
            raise FrameTooLong(f"a frame of {length} bytes, where {self.limit} are allowed")
        return PREFIX.size + length

    def end(self):
        self.pending.clear()

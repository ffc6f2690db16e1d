"""Each feed gives out one frame, also when several are whole.

check: test_many_frames_at_once
says: one frame for each feed
"""


class FrameReader:
    def __init__(self, limit):
        self.limit = limit
        self.pending = bytearray()

    def feed(self, data):
        self.pending += data
        frames = []
        if len(self.pending) >= PREFIX.size and len(self.pending) >= (end := self.frame_end()):
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

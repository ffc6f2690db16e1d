"""The limit is looked at only when the whole frame has come.

check: test_a_hostile_length
says: a limit looked at only when the frame is whole
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
            if end - PREFIX.size > self.limit:
                raise FrameTooLong("too long")
            frames.append(bytes(self.pending[PREFIX.size : end]))
            del self.pending[:end]
        return frames

    def frame_end(self):
        (length,) = PREFIX.unpack_from(self.pending)
        return PREFIX.size + length

    def end(self):
        if self.pending:
            whole = self.frame_end() if len(self.pending) >= PREFIX.size else PREFIX.size
            raise EndedEarly(len(self.pending), whole)

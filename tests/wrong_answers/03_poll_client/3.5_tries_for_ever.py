"""splice is tried again for each piece, although it has failed before.

check: test_a_source_that_splice_refuses
says: splice tried again for each piece
"""


def pump(source_fd, target_fd):
    reading, writing = os.pipe()
    spliced = copied = left = 0
    try:
        while True:
            try:
                left = os.splice(source_fd, writing, PIPE_BYTES)
                if not left:
                    return spliced, copied
                while left:
                    moved = os.splice(reading, target_fd, left)
                    left -= moved
                    spliced += moved
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                data = os.read(reading, left) or os.read(source_fd, PIPE_BYTES)
                if not data:
                    return spliced, copied
                write_all(target_fd, data)
                copied += len(data)
                left = 0
    finally:
        os.close(reading)
        os.close(writing)

"""EINVAL is not caught.

check: test_a_source_that_splice_refuses
says: EINVAL not caught
"""


def pump(source_fd, target_fd):
    reading, writing = os.pipe()
    spliced = left = 0
    try:
        while left := os.splice(source_fd, writing, PIPE_BYTES):
            while left:
                moved = os.splice(reading, target_fd, left)
                left -= moved
                spliced += moved
        return spliced, 0
    finally:
        os.close(reading)
        os.close(writing)

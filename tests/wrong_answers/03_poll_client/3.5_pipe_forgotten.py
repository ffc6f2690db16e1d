"""At the change, what is in the pipe is forgotten.

check: test_a_change_on_the_way
says: bytes lost or repeated at the change
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
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return spliced, copy(source_fd, target_fd)
    finally:
        os.close(reading)
        os.close(writing)

"""Every error is taken for the end.

check: test_other_errors_are_raised
says: every OSError taken for EINVAL, or swallowed
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
        if error.errno == errno.EINVAL:
            write_all(target_fd, os.read(reading, left))
            return spliced, left + copy(source_fd, target_fd)
        return spliced, 0
    finally:
        os.close(reading)
        os.close(writing)

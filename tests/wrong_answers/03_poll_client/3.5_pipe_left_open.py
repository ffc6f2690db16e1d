"""The pipe is closed only where all goes well.

check: test_other_errors_are_raised
says: a pipe closed only where all goes well
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
        copied = 0
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        write_all(target_fd, os.read(reading, left))
        copied = left + copy(source_fd, target_fd)
    os.close(reading)
    os.close(writing)
    return spliced, copied

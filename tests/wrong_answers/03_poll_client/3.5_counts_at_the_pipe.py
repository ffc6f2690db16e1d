"""Bytes are counted as spliced when they enter the pipe.

check: test_a_change_on_the_way
says: bytes counted as spliced when they enter the pipe
"""


def pump(source_fd, target_fd):
    reading, writing = os.pipe()
    spliced = left = 0
    try:
        while left := os.splice(source_fd, writing, PIPE_BYTES):
            spliced += left
            while left:
                left -= os.splice(reading, target_fd, left)
        return spliced, 0
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        write_all(target_fd, os.read(reading, left))
        return spliced, copy(source_fd, target_fd)
    finally:
        os.close(reading)
        os.close(writing)

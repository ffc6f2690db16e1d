"""The parent does not close the reading end.

check: test_nothing_is_left
says: an end of the pipe that the parent does not close
"""


def run_pipeline(first, second):
    reading, writing = os.pipe()
    pids = [start_program(first, writing, 1), start_program(second, reading, 0)]
    os.close(writing)
    return tuple(reap(pid) for pid in pids)

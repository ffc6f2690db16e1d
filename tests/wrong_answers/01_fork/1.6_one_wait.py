"""Only the second program is waited for.

check: test_nothing_is_left
says: one wait for two children
"""


def run_pipeline(first, second):
    reading, writing = os.pipe()
    start_program(first, writing, 1)
    second_pid = start_program(second, reading, 0)
    os.close(reading)
    os.close(writing)
    return 0, reap(second_pid)

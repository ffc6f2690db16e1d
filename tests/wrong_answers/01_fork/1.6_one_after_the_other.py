"""The first program is waited for before the second is started.

check: test_it_ends_when_its_reader_does
says: waited for before the second runs
"""


def run_pipeline(first, second):
    reading, writing = os.pipe()
    first_pid = start_program(first, writing, 1)
    os.close(writing)
    first_status = reap(first_pid)
    second_pid = start_program(second, reading, 0)
    os.close(reading)
    return first_status, reap(second_pid)

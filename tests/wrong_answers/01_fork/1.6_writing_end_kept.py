"""The parent keeps the writing end while it waits.

check: test_the_second_reads_what_the_first_writes
says: a writing end that is still open somewhere
"""


def run_pipeline(first, second):
    reading, writing = os.pipe()
    pids = [start_program(first, writing, 1), start_program(second, reading, 0)]
    statuses = tuple(reap(pid) for pid in pids)
    os.close(reading)
    os.close(writing)
    return statuses

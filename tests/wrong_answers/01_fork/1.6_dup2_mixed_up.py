"""The ends of the pipe are mixed up.

check: test_the_second_reads_what_the_first_writes
says: standard output and standard input mixed up
"""


def run_pipeline(first, second):
    reading, writing = os.pipe()
    pids = [start_program(first, reading, 0), start_program(second, writing, 1)]
    os.close(reading)
    os.close(writing)
    return tuple(reap(pid) for pid in pids)

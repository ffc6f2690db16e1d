"""The statuses come in the order in which the programs end.

check: test_both_statuses_are_returned
says: in the order in which the programs ended
"""


def run_pipeline(first, second):
    reading, writing = os.pipe()
    start_program(first, writing, 1)
    start_program(second, reading, 0)
    os.close(reading)
    os.close(writing)
    return tuple(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2))

"""os._exit throws away what the work has printed.

check: test_what_the_work_prints_is_there_once
says: flush what the work has printed
"""


def run_in_child(work, *arguments):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 113
        try:
            status = work(*arguments)
        finally:
            os._exit(status)
    return reap(pid)

"""The child leaves by sys.exit.

check: test_nothing_of_the_callers_runs_in_the_child
says: by an exception
"""


def run_in_child(work, *arguments):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            status = work(*arguments)
        except BaseException:
            status = 113
        sys.exit(status)
    return reap(pid)

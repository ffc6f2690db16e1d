"""An exception in the work leads the child out of the function.

check: test_an_exception_stays_in_the_child
says: by an exception
"""


def run_in_child(work, *arguments):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = work(*arguments)
        sys.stdout.flush()
        os._exit(status)
    return reap(pid)

"""The status of waitpid is returned as it is.

check: test_the_status_is_returned_and_the_child_reaped
says: the raw status of waitpid
"""


def run_in_child(work, *arguments):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 113
        try:
            status = work(*arguments)
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitpid(pid, 0)[1]

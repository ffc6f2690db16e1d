"""What the caller has printed is still buffered at the fork.

check: test_printed_before_is_there_once
says: flush before the fork
"""


def run_in_child(work, *arguments):
    pid = os.fork()
    if pid == 0:
        status = 113
        try:
            status = work(*arguments)
        finally:
            sys.stdout.flush()
            os._exit(status)
    return reap(pid)

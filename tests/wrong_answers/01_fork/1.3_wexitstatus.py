"""WEXITSTATUS is asked of a child that a signal has ended.

check: test_a_signal_is_a_negative_status
says: WEXITSTATUS of a child that did not exit
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
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1])

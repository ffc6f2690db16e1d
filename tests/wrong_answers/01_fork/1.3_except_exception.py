"""`except Exception` lets SystemExit and KeyboardInterrupt pass.

check: test_an_exception_stays_in_the_child
says: by an exception
"""


def run_in_child(work, *arguments):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            status = work(*arguments)
        except Exception:
            status = 113
        sys.stdout.flush()
        os._exit(status)
    return reap(pid)

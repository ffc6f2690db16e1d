"""A child whose exec fails runs on.

check: test_a_program_that_is_not_found
says: by an exception
"""


def start_program(argv, descriptor, number):
    pid = os.fork()
    if pid == 0:
        os.dup2(descriptor, number)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvp(argv[0], argv)
    return pid

"""execv takes a path, and looks for nothing along PATH.

check: test_the_second_reads_what_the_first_writes
says: status 127, a program that was not found
"""


def start_program(argv, descriptor, number):
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(descriptor, number)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execv(argv[0], argv)
        finally:
            os._exit(127)
    return pid

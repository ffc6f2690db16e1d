"""SIGPIPE stays ignored in the programs.

check: test_it_ends_when_its_reader_does
says: SIGPIPE left ignored
"""


def start_program(argv, descriptor, number):
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(descriptor, number)
            os.execvp(argv[0], argv)
        finally:
            os._exit(127)
    return pid

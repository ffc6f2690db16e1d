"""The fork is tried again until it succeeds.

check: test_the_error_says_what_happened
says: return within
"""


def fork_at_last():
    while True:
        try:
            return os.fork()
        except OSError:
            pass


def spawn_all(n):
    workers = []
    for _ in range(n):
        reading, writing = os.pipe()
        pid = fork_at_last()
        if pid == 0:
            be_a_worker(reading, [writing, *(descriptor for _, descriptor in workers)])
        os.close(reading)
        workers.append((pid, writing))
    return workers

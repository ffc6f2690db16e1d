"""The error has a text and no errno.

check: test_the_error_says_what_happened
says: a text alone
"""


def spawn_all(n):
    workers = []
    for _ in range(n):
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            end_workers(workers)
            text = f"started {len(workers)} of {n} workers: {os.strerror(error.errno)}"
            raise OSError(text) from error
        if pid == 0:
            be_a_worker(reading, [writing, *(descriptor for _, descriptor in workers)])
        os.close(reading)
        workers.append((pid, writing))
    return workers

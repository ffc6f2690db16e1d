"""The parent keeps the reading ends of the pipes.

check: test_n_workers_run
says: the parent keeps the reading ends
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
            raise OSError(error.errno, text) from error
        if pid == 0:
            be_a_worker(reading, [writing, *(descriptor for _, descriptor in workers)])
        workers.append((pid, writing))
    return workers

"""A worker keeps its copies of the elder workers' writing ends.

check: test_a_worker_ends_when_its_own_pipe_closes
says: a younger worker holds a copy
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
            for _, descriptor in workers:
                os.close(descriptor)
            for pid, _ in workers:
                reap(pid)
            text = f"started {len(workers)} of {n} workers: {os.strerror(error.errno)}"
            raise OSError(error.errno, text) from error
        if pid == 0:
            be_a_worker(reading, [writing])
        os.close(reading)
        workers.append((pid, writing))
    return workers

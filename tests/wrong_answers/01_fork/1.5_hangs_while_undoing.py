"""The workers are ended one by one, though the younger hold copies of the elder's writing ends.

check: test_no_worker_is_left
says: a wait for a worker that never ends
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
            be_a_worker(reading, [writing])
        os.close(reading)
        workers.append((pid, writing))
    return workers

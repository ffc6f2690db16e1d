"""The pipe made for the worker that never came stays open.

check: test_no_descriptor_is_left
says: the pipe made for the worker that never came
"""


def spawn_all(n):
    workers = []
    for _ in range(n):
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            end_workers(workers)
            text = f"started {len(workers)} of {n} workers: {os.strerror(error.errno)}"
            raise OSError(error.errno, text) from error
        if pid == 0:
            be_a_worker(reading, [writing, *(descriptor for _, descriptor in workers)])
        os.close(reading)
        workers.append((pid, writing))
    return workers

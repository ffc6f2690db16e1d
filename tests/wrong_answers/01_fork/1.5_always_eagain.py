"""One errno is written into the code.

check: test_the_first_fork_fails
says: one errno written into the code
"""

import errno


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
            text = f"started {len(workers)} of {n} workers: {os.strerror(errno.EAGAIN)}"
            raise OSError(errno.EAGAIN, text) from error
        if pid == 0:
            be_a_worker(reading, [writing, *(descriptor for _, descriptor in workers)])
        os.close(reading)
        workers.append((pid, writing))
    return workers

"""Fewer workers are returned, and nobody is told.

check: test_the_first_fork_fails
says: a failing fork that is passed over in silence
"""


def spawn_all(n):
    workers = []
    for _ in range(n):
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            return workers
        if pid == 0:
            be_a_worker(reading, [writing, *(descriptor for _, descriptor in workers)])
        os.close(reading)
        workers.append((pid, writing))
    return workers

"""The workers are killed, and nobody waits for them.

check: test_no_worker_is_left
says: workers ended and not reaped
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
            for pid, descriptor in workers:
                os.close(descriptor)
                os.kill(pid, signal.SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            text = f"started {len(workers)} of {n} workers: {os.strerror(error.errno)}"
            raise OSError(error.errno, text) from error
        if pid == 0:
            be_a_worker(reading, [writing, *(descriptor for _, descriptor in workers)])
        os.close(reading)
        workers.append((pid, writing))
    return workers

"""The status of waitpid is returned as it is.

check: test_statuses_are_in_the_order_of_the_codes
says: the raw status of waitpid
"""


def spawn_and_reap(codes, gates):
    pids = []
    for code, gate in zip(codes, gates, strict=True):
        pid = os.fork()
        if pid == 0:
            leave_as_told(code, gate)
        pids.append(pid)
    return [os.waitpid(pid, 0)[1] for pid in pids]

"""The children return from the function instead of leaving.

check: test_every_child_is_reaped
says: a child that runs on into its caller's code
"""


def spawn_and_reap(codes, gates):
    pids = []
    for code, gate in zip(codes, gates, strict=True):
        pid = os.fork()
        if pid == 0:
            os.read(gate, 1)
            return code
        pids.append(pid)
    return [reap(pid) for pid in pids]

"""The return stands inside the loop, so that only one child is started.

check: test_all_children_run_together
says: a return inside the loop that starts them
"""


def spawn_and_reap(codes, gates):
    pids = []
    for code, gate in zip(codes, gates, strict=True):
        pid = os.fork()
        if pid == 0:
            leave_as_told(code, gate)
        pids.append(pid)
        return [os.waitpid(pid, os.WNOHANG)[0] for pid in pids]
    return []

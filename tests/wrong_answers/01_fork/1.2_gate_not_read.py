"""The children do not wait at their gates.

check: test_all_children_run_together
says: the call has ended before its children
"""


def spawn_and_reap(codes, gates):
    pids = []
    for code in codes:
        pid = os.fork()
        if pid == 0:
            if code < 0:
                os.kill(os.getpid(), -code)
            os._exit(code)
        pids.append(pid)
    return [reap(pid) for pid in pids]

"""Each child is waited for before the next is started.

check: test_all_children_run_together
says: each child waited for before the next is started
"""


def spawn_and_reap(codes, gates):
    statuses = []
    for code, gate in zip(codes, gates, strict=True):
        pid = os.fork()
        if pid == 0:
            leave_as_told(code, gate)
        statuses.append(reap(pid))
    return statuses

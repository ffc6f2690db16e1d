"""os.wait takes whatever child ends, the caller's own too.

check: test_other_children_are_left_alone
says: takes any child
"""


def spawn_and_reap(codes, gates):
    statuses = {}
    pids = []
    for code, gate in zip(codes, gates, strict=True):
        pid = os.fork()
        if pid == 0:
            leave_as_told(code, gate)
        pids.append(pid)
    while not set(pids) <= set(statuses):
        pid, status = os.wait()
        statuses[pid] = os.waitstatus_to_exitcode(status)
    return [statuses[pid] for pid in pids]

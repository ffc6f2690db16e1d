"""The loop waits before it looks whether there is a child.

check: test_no_codes
says: a wait before it is known whether there is a child
"""


def spawn_and_reap(codes, gates):
    statuses = {}
    pids = []
    for code, gate in zip(codes, gates, strict=True):
        pid = os.fork()
        if pid == 0:
            leave_as_told(code, gate)
        pids.append(pid)
    while True:
        pid, status = os.wait()
        statuses[pid] = os.waitstatus_to_exitcode(status)
        if len(statuses) == len(pids):
            return [statuses[pid] for pid in pids]

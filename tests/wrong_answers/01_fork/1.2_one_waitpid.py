"""One waitpid for all children, and the statuses taken on trust.

check: test_every_child_is_reaped
says: one waitpid for many children
"""


def spawn_and_reap(codes, gates):
    pid = 0
    for code, gate in zip(codes, gates, strict=True):
        pid = os.fork()
        if pid == 0:
            leave_as_told(code, gate)
    if codes:
        os.waitpid(pid, 0)
    return list(codes)

"""WEXITSTATUS is asked of children that a signal has ended.

check: test_a_child_ended_by_a_signal
says: WEXITSTATUS of a child that did not exit
"""


def spawn_and_reap(codes, gates):
    pids = []
    for code, gate in zip(codes, gates, strict=True):
        pid = os.fork()
        if pid == 0:
            leave_as_told(code, gate)
        pids.append(pid)
    return [os.WEXITSTATUS(os.waitpid(pid, 0)[1]) for pid in pids]

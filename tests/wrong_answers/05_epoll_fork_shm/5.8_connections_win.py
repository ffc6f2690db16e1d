"""A socket that is in both lists is closed.

check: test_only_its_own_is_left
says: a close of what is to be kept
"""


def become_child(poller, connections, keep):
    poller.close()
    for sock in connections:
        sock.close()
    kept = {0, 1, 2, *(sock.fileno() for sock in keep)}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)

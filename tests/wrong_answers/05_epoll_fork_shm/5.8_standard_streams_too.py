"""Everything but the sockets is closed, the standard streams too.

check: test_only_its_own_is_left
says: the standard streams too
"""


def become_child(poller, connections, keep):
    poller.close()
    for sock in connections:
        if sock not in keep:
            sock.close()
    kept = {sock.fileno() for sock in keep}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)

"""The child takes everything out of the epoll before it closes it.

check: test_the_parents_epoll_goes_on
says: unregister in the child
"""


def become_child(poller, connections, keep):
    for sock in connections:
        if sock.fileno() >= 0 and sock not in keep:
            poller.unregister(sock)
    poller.close()
    for sock in connections:
        if sock not in keep:
            sock.close()
    kept = {0, 1, 2, *(sock.fileno() for sock in keep)}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)

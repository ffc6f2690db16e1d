"""The connections are shut down, as if they were the child's to end.

check: test_the_parents_epoll_goes_on
says: shutdown, which ends a connection for all
"""

import socket


def become_child(poller, connections, keep):
    poller.close()
    for sock in connections:
        if sock not in keep:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
    kept = {0, 1, 2, *(sock.fileno() for sock in keep)}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)

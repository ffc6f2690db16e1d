"""The numbers are closed up to the limit, which was higher when they were opened.

check: test_only_its_own_is_left
says: numbers only up to some limit
"""

import resource


def become_child(poller, connections, keep):
    poller.close()
    for sock in connections:
        if sock not in keep:
            sock.close()
    kept = {0, 1, 2, *(sock.fileno() for sock in keep)}
    for number in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)

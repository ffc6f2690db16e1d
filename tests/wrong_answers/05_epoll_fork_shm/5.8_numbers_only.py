"""Everything is closed by its number, and the objects do not know.

check: test_objects_are_closed_as_objects
says: numbers closed under their objects
"""


def become_child(poller, connections, keep):
    kept = {0, 1, 2, *(sock.fileno() for sock in keep)}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)

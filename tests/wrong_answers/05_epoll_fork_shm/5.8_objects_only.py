"""Only what the child has an object for is closed.

check: test_only_its_own_is_left
says: the child still has
"""


def become_child(poller, connections, keep):
    poller.close()
    for sock in connections:
        if sock not in keep:
            sock.close()

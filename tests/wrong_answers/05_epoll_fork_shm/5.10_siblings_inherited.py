"""The child closes its listener, and keeps what it has of its siblings.

check: test_children
says: what the parent has open at the fork is open in the child, too
"""


def close_the_listener(poller, connections, keep):
    connections[0].close()


def serve(listener, max_clients):
    globals()["become_child"] = close_the_listener
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()

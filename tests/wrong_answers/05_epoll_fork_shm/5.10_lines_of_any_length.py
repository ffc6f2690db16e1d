"""Nobody counts how long a line has become.

check: test_a_line_without_an_end
says: a line that is kept without bound
"""


def serve(listener, max_clients):
    globals()["MAX_LINE_BYTES"] = 2**40
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()

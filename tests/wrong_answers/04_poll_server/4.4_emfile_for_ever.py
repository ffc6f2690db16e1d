"""accept is tried again and again when there is no descriptor.

check: test_no_descriptor_left
says: a loop that goes on although accept has failed
"""

import socket


def accept_all(listener):
    connections = []
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return connections, True
        except OSError:
            continue
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        connections.append(connection)

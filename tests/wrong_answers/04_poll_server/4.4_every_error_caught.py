"""Every error is taken for no descriptor.

check: test_another_error_is_raised
says: every OSError taken for no descriptor
"""

import socket


def accept_all(listener):
    connections = []
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return connections, True
        except ConnectionAbortedError:
            continue
        except OSError:
            return connections, False
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        connections.append(connection)

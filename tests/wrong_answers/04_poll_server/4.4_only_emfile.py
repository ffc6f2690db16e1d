"""Only EMFILE is thought of.

check: test_no_memory_left
says: only EMFILE thought of
"""

import errno
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
        except OSError as error:
            if error.errno == errno.EMFILE:
                return connections, False
            raise
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        connections.append(connection)

"""ECONNABORTED ends the loop, while others wait.

check: test_one_who_has_left
says: ECONNABORTED taken for the end
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
            return connections, True
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                return connections, False
            raise
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        connections.append(connection)

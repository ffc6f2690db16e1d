"""EMFILE is taken for nobody there.

check: test_no_descriptor_left
says: no descriptor taken for nobody there
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
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                return connections, True
            raise
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        connections.append(connection)

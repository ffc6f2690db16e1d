"""The parent keeps its copy of the connection in a list.

check: test_the_client_sees_end_of_file
says: the client still waits for it
"""

CONNECTIONS = []


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
    CONNECTIONS.append(connection)
    return pid

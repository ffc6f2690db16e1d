"""The child keeps its copy of the listener.

check: test_the_child_does_not_keep_the_listener
says: the child's copy of the listener is not closed
"""


def serve_in_child(listener, serve):
    connection, _ = listener.accept()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            serve(connection)
            status = 0
        finally:
            os._exit(status)
    connection.close()
    return pid

"""The child leaves with status 0 whatever has happened.

check: test_an_exception_ends_the_child_with_status_1
says: os._exit(0) in a `finally`
"""


def serve_in_child(listener, serve):
    connection, _ = listener.accept()
    pid = os.fork()
    if pid == 0:
        try:
            listener.close()
            serve(connection)
        finally:
            os._exit(0)
    connection.close()
    return pid

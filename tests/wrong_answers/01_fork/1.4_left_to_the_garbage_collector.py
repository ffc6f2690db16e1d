"""The parent does not close its copy; Python does it when the function returns.

check: test_the_parent_does_not_keep_the_connection
says: garbage collector
"""


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
    return pid

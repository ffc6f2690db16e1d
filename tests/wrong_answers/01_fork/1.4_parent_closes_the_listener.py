"""The parent closes the listener too.

check: test_the_listener_serves_again
says: the listener closed in the parent, not in the child
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
    connection.close()
    listener.close()
    return pid

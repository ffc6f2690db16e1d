"""An exception in serve leads the child out of the function.

check: test_an_exception_ends_the_child_with_status_1
says: by an exception
"""


def serve_in_child(listener, serve):
    connection, _ = listener.accept()
    pid = os.fork()
    if pid == 0:
        listener.close()
        serve(connection)
        os._exit(0)
    connection.close()
    return pid

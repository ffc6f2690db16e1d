"""The parent waits for its child before it returns.

check: test_the_child_serves_while_the_parent_goes_on
says: a parent that waits for its child
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
    os.waitpid(pid, 0)
    return pid

"""The parent detaches its copy, which forgets the descriptor and leaves it open.

check: test_the_parent_does_not_keep_the_connection
says: count 2
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
    connection.detach()
    return pid

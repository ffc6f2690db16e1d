"""Only ConnectionError is caught; other errors are raised.

check: test_errors_carry_their_errno
says: an error that is raised and not classified
"""

import socket


def classify_recv(sock, n):
    if n < 1:
        raise ValueError("n must be at least 1")
    try:
        data = sock.recv(n, socket.MSG_DONTWAIT)
    except BlockingIOError as error:
        return "would block", error.errno
    except ConnectionError as error:
        return "error", error.errno
    return ("data", data) if data else ("end", b"")

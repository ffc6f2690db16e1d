"""EAGAIN is an OSError like any other.

check: test_nothing_there
says: EAGAIN taken for an error
"""

import socket


def classify_recv(sock, n):
    if n < 1:
        raise ValueError("n must be at least 1")
    try:
        data = sock.recv(n, socket.MSG_DONTWAIT)
    except OSError as error:
        return "error", error.errno
    return ("data", data) if data else ("end", b"")

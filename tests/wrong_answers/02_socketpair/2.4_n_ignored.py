"""It asks recv for a number of its own, not for n.

check: test_data
says: another number of bytes asked of recv than n
"""

import socket


def classify_recv(sock, n):
    if n < 1:
        raise ValueError("n must be at least 1")
    try:
        data = sock.recv(4096, socket.MSG_DONTWAIT)
    except BlockingIOError as error:
        return "would block", error.errno
    except OSError as error:
        return "error", error.errno
    return ("data", data) if data else ("end", b"")

"""b'' is given out as data.

check: test_end_after_the_last_data
says: b'' taken for data
"""

import socket


def classify_recv(sock, n):
    if n < 1:
        raise ValueError("n must be at least 1")
    try:
        data = sock.recv(n, socket.MSG_DONTWAIT)
    except BlockingIOError as error:
        return "would block", error.errno
    except OSError as error:
        return "error", error.errno
    return "data", data

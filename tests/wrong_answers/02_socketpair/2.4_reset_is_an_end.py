"""A reset connection is taken for one that ended.

check: test_errors_carry_their_errno
says: ECONNRESET taken for the end
"""

import socket


def classify_recv(sock, n):
    if n < 1:
        raise ValueError("n must be at least 1")
    try:
        data = sock.recv(n, socket.MSG_DONTWAIT)
    except BlockingIOError as error:
        return "would block", error.errno
    except ConnectionResetError:
        return "end", b""
    except OSError as error:
        return "error", error.errno
    return ("data", data) if data else ("end", b"")

"""n = 0 is passed on to recv, whose b'' is taken for the end.

check: test_zero_bytes_are_refused
says: recv(0), whose b'' looks like end of file
"""

import socket


def classify_recv(sock, n):
    try:
        data = sock.recv(n, socket.MSG_DONTWAIT)
    except BlockingIOError as error:
        return "would block", error.errno
    except OSError as error:
        return "error", error.errno
    return ("data", data) if data else ("end", b"")

"""The socket is made non-blocking, and stays so.

check: test_nothing_there
says: setblocking, and never back
"""


def classify_recv(sock, n):
    if n < 1:
        raise ValueError("n must be at least 1")
    sock.setblocking(False)
    try:
        data = sock.recv(n)
    except BlockingIOError as error:
        return "would block", error.errno
    except OSError as error:
        return "error", error.errno
    return ("data", data) if data else ("end", b"")

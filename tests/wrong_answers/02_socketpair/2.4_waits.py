"""A plain recv, which waits on a blocking socket.

check: test_nothing_there
says: a recv that waits: MSG_DONTWAIT makes it not wait
"""


def classify_recv(sock, n):
    if n < 1:
        raise ValueError("n must be at least 1")
    try:
        data = sock.recv(n)
    except BlockingIOError as error:
        return "would block", error.errno
    except OSError as error:
        return "error", error.errno
    return ("data", data) if data else ("end", b"")

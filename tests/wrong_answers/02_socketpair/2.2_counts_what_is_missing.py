"""The error tells how many bytes are missing, not how many came.

check: test_the_end_comes_early
says: the wrong number
"""


def receive_exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EndedEarly(n - len(data), n)
        data += more
    return data

"""A plain EOFError is raised, which tells nobody how many bytes came.

check: test_the_end_comes_early
says: another exception than the one that the stub gives
"""


def receive_exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EOFError("the other end has closed")
        data += more
    return data

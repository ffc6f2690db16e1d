"""It does not look for end of file, and asks again for ever.

check: test_the_end_comes_early
says: see end of file, where recv gives b'' at once
"""


def receive_exactly(sock, n):
    data = b""
    while len(data) < n:
        data += sock.recv(n - len(data))
    return data

"""It does not look for end of file, and asks again for ever.

check: test_the_end_comes_early
says: end of file not looked for
"""


def receive_exactly(sock, n):
    data = b""
    while len(data) < n:
        data += sock.recv(n - len(data))
    return data

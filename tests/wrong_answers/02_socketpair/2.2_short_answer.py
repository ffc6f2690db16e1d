"""At end of file it returns what it has.

check: test_the_end_comes_early
says: a short answer given out as if it were whole
"""


def receive_exactly(sock, n):
    data = b""
    while len(data) < n and (more := sock.recv(n - len(data))):
        data += more
    return data

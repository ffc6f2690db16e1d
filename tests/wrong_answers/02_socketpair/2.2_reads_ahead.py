"""It receives in big pieces and throws away what it did not need.

check: test_what_follows_stays_in_the_socket
says: asking recv for more than is missing
"""


def receive_exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(4096)
        if not more:
            raise EndedEarly(len(data), n)
        data += more
    return data[:n]

"""After a part has come, recv is asked for n again, not for what is missing.

check: test_what_follows_stays_in_the_socket
says: asking recv for more than is missing
"""


def receive_exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n)
        if not more:
            raise EndedEarly(len(data), n)
        data += more
    return data

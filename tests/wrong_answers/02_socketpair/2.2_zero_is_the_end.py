"""For n = 0 it asks recv for 0 bytes and takes b'' for end of file.

check: test_nothing_is_wanted
says: recv(0), whose b'' looks like end of file
"""


def receive_exactly(sock, n):
    data = b""
    while True:
        more = sock.recv(n - len(data))
        if not more:
            raise EndedEarly(len(data), n)
        data += more
        if len(data) == n:
            return data

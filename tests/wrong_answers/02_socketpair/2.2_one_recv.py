"""One recv is trusted to bring all n bytes.

check: test_bytes_that_trickle_in
says: one recv, which gives what is there, taken for all
"""


def receive_exactly(sock, n):
    return sock.recv(n) if n else b""

"""A buffer that is large enough, mostly.

check: test_a_burst_is_read_to_its_end
says: a buffer large enough for everything
"""


def drain(sock, pieces):
    """Receive until nothing is left for now (False), or for ever (True)."""
    while True:
        try:
            piece = sock.recv(2**20)
        except BlockingIOError:
            return False
        if not piece:
            return True
        pieces.append(piece)

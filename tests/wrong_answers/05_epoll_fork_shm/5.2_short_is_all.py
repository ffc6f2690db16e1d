"""A short piece is taken for all there is.

check: test_last_words_and_the_end_come_together
says: a short piece taken for all there is
"""


def drain(sock, pieces):
    """Receive until nothing is left for now (False), or for ever (True)."""
    while True:
        try:
            piece = sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        if not piece:
            return True
        pieces.append(piece)
        if len(piece) < RECEIVE_BYTES:
            return False

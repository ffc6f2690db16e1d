"""One recv for each event.

check: test_a_burst_is_read_to_its_end
says: one recv, or a few, for each event
"""


def drain(sock, pieces):
    """Receive until nothing is left for now (False), or for ever (True)."""
    piece = sock.recv(RECEIVE_BYTES)
    pieces.append(piece)
    return not piece

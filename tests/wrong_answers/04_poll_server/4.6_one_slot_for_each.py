"""Each client has one slot, which the last sender of the turn fills.

check: test_everyone_but_the_sender
says: each sender of the turn replaces the one before
"""


def share_out(turn, clients):
    shares = {}
    for sender, data in turn:
        for client in clients:
            if client != sender:
                shares[client] = [data]
    return shares

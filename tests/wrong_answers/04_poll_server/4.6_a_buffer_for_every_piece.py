"""Each piece of the turn is a buffer of its own.

check: test_several_times
says: a buffer for every piece
"""


def share_out(turn, clients):
    shares = {client: [data for sender, data in turn if sender != client] for client in clients}
    return {client: share for client, share in shares.items() if share}

"""Own lines are left out by what they say.

check: test_the_same_words
says: go by the sender
"""


def share_out(turn, clients):
    said = dict(turn)
    shares = {client: [data for _, data in turn if data != said.get(client)] for client in clients}
    return {client: [b"".join(share)] for client, share in shares.items() if share}

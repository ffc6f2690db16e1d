"""The bytes are joined anew for each client.

check: test_one_copy_for_all
says: joined or sliced for each client
"""


def share_out(turn, clients):
    shares = {client: b"".join(data for sender, data in turn if sender != client) for client in clients}
    return {client: [share] for client, share in shares.items() if share}

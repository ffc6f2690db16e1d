"""What somebody says who has left is not passed on.

check: test_who_gets_nothing
says: its last words are for them
"""


def share_out(turn, clients):
    turn = [(sender, data) for sender, data in turn if sender in clients]
    whole = memoryview(b"".join(data for _, data in turn))
    spans, start = {}, 0
    for sender, data in turn:
        spans.setdefault(sender, []).append((start, start + len(data)))
        start += len(data)
    shares = {client: without(whole, spans.get(client, ())) for client in clients}
    return {client: share for client, share in shares.items() if share}

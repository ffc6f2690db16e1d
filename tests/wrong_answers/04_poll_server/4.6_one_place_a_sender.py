"""Only the last place of each sender is known.

check: test_several_times
says: of a sender's places in the turn known
"""


def share_out(turn, clients):
    whole = memoryview(b"".join(data for _, data in turn))
    spans, start = {}, 0
    for sender, data in turn:
        spans[sender] = [(start, start + len(data))]
        start += len(data)
    shares = {client: without(whole, spans.get(client, ())) for client in clients}
    return {client: share for client, share in shares.items() if share}

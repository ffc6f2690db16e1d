"""Who gets nothing is named too.

check: test_who_gets_nothing
says: clients named who get nothing
"""


def share_out(turn, clients):
    whole = memoryview(b"".join(data for _, data in turn))
    spans, start = {client: [] for client in clients}, 0
    for sender, data in turn:
        spans.setdefault(sender, []).append((start, start + len(data)))
        start += len(data)
    return {client: without(whole, spans[client]) for client in clients}

"""A worker closes the connection after its first answer.

check: test_connections_are_served_side_by_side
says: one answer for each connection
"""


def converse(connection, answer):
    reader = FrameReader(MAX_FRAME_BYTES)
    requests = []
    while not requests and (data := connection.recv(65536)):
        requests = reader.feed(data)
    for request in requests:
        send_frame(connection, answer(request))

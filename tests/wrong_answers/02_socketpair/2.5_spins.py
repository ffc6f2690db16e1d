"""On EAGAIN it tries again at once, until there is room.

check: test_a_frame_larger_than_the_buffers
says: a loop around send that spins on EAGAIN
"""


def send_frame(sock, payload):
    rest = memoryview(PREFIX.pack(len(payload)) + payload)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            continue

"""sendall, which on a non-blocking socket gives up when the buffers are full.

check: test_a_frame_larger_than_the_buffers
says: gives up half-way
"""


def send_frame(sock, payload):
    sock.sendall(PREFIX.pack(len(payload)) + payload)

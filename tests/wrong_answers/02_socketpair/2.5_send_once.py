"""send's result is not looked at.

check: test_a_frame_larger_than_the_buffers
says: a send whose result is not looked at
"""


def send_frame(sock, payload):
    sock.send(PREFIX.pack(len(payload)) + payload)

"""The length is sent in this machine's byte order.

check: test_a_frame_on_the_wire
says: another byte order
"""

import struct


def send_frame(sock, payload):
    sock.sendall(struct.pack("=I", len(payload)) + payload)

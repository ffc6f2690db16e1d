"""Two descriptors are refused, and stay open.

check: test_a_message_without_exactly_one
says: descriptors that were received and forgotten
"""

import array
import socket


def receive_connection(channel):
    room = socket.CMSG_SPACE(array.array("i").itemsize)
    data, ancillary, _, _ = channel.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
    received = array.array("i")
    for _, _, packed in ancillary:
        received.frombytes(packed)
    if len(received) == 1:
        return socket.socket(fileno=received[0])
    if not data:
        return None
    raise NoConnection(f"a message with {len(received)} descriptors")

"""It takes the first descriptor, without counting how many came.

check: test_a_message_without_exactly_one
says: the first descriptor taken without counting
"""

import array
import socket


def receive_connection(channel):
    room = socket.CMSG_SPACE(array.array("i").itemsize)
    data, ancillary, _, _ = channel.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
    received = array.array("i")
    for _, _, packed in ancillary:
        received.frombytes(packed)
    return socket.socket(fileno=received[0]) if data else None

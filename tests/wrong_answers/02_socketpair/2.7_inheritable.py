"""The descriptor is received without MSG_CMSG_CLOEXEC.

check: test_nothing_is_left_behind
says: recvmsg without MSG_CMSG_CLOEXEC
"""

import array
import os
import socket


def receive_connection(channel):
    room = socket.CMSG_SPACE(array.array("i").itemsize)
    data, ancillary, _, _ = channel.recvmsg(1, room)
    received = array.array("i")
    for _, _, packed in ancillary:
        received.frombytes(packed)
    if len(received) == 1:
        return socket.socket(fileno=received[0])
    for fd in received:
        os.close(fd)
    if not data:
        return None
    raise NoConnection(f"a message with {len(received)} descriptors")

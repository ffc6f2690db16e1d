"""The end of the channel is taken for a message without a descriptor.

check: test_the_channel_ends
says: the end of the channel taken for a message
"""

import array
import os
import socket


def receive_connection(channel):
    room = socket.CMSG_SPACE(array.array("i").itemsize)
    _, ancillary, _, _ = channel.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
    received = array.array("i")
    for _, _, packed in ancillary:
        received.frombytes(packed)
    if len(received) == 1:
        return socket.socket(fileno=received[0])
    for fd in received:
        os.close(fd)
    raise NoConnection(f"a message with {len(received)} descriptors")

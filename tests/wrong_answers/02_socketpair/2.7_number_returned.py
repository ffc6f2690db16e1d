"""It returns the descriptor's number, not a socket.

check: test_it_is_received
says: the descriptor's number returned
"""

import array
import os
import socket


def receive_connection(channel):
    room = socket.CMSG_SPACE(array.array("i").itemsize)
    data, ancillary, _, _ = channel.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
    received = array.array("i")
    for _, _, packed in ancillary:
        received.frombytes(packed)
    if len(received) == 1:
        return received[0]
    for fd in received:
        os.close(fd)
    if not data:
        return None
    raise NoConnection(f"a message with {len(received)} descriptors")

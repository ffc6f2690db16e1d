"""The socket is made by fromfd, which duplicates the descriptor and leaves the one that came.

check: test_nothing_is_left_behind
says: a duplicate: socket.fromfd makes a second descriptor
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
        return socket.fromfd(received[0], socket.AF_INET, socket.SOCK_STREAM)
    for fd in received:
        os.close(fd)
    if not data:
        return None
    raise NoConnection(f"a message with {len(received)} descriptors")

"""The message has no byte that would carry the descriptor.

check: test_it_is_sent_and_closed
says: no byte to carry it
"""

import array
import socket


def send_connection(channel, connection):
    rights = array.array("i", [connection.fileno()])
    channel.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    connection.close()

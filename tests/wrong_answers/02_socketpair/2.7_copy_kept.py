"""The sender does not close its copy.

check: test_it_is_sent_and_closed
says: a copy kept: sending a descriptor is like dup
"""

import array
import socket


def send_connection(channel, connection):
    rights = array.array("i", [connection.fileno()])
    channel.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

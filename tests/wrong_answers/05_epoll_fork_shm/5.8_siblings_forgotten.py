"""The epoll and the listener are closed, and nothing else.

check: test_a_sibling_sees_the_end
says: sees nothing
"""

import socket


def become_child(poller, connections, keep):
    poller.close()
    for sock in connections:
        if sock not in keep and sock.fileno() >= 0 and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.close()

"""The sockets are left blocking.

check: test_nobody_is_waited_for_in_recv
says: recv on a blocking socket: it waits when nothing is left
"""

import select


def collect(socks):
    heard = [[] for _ in socks]
    places = {sock.fileno(): place for place, sock in enumerate(socks)}
    with select.epoll() as epoll:
        for sock in socks:
            epoll.register(sock, select.EPOLLIN | select.EPOLLET)
        while places:
            for fd, _ in epoll.poll():
                if drain(socks[places[fd]], heard[places[fd]]):
                    epoll.unregister(fd)
                    del places[fd]
    return [b"".join(pieces) for pieces in heard]

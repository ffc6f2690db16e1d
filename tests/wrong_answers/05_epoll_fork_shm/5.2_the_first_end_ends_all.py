"""The end of one connection ends everything.

check: test_everything_on_every_connection
says: the end of one connection taken for the end of all
"""

import select


def collect(socks):
    heard = [[] for _ in socks]
    places = {sock.fileno(): place for place, sock in enumerate(socks)}
    with select.epoll() as epoll:
        for sock in socks:
            sock.setblocking(False)
            epoll.register(sock, select.EPOLLIN | select.EPOLLET)
        while len(places) == len(socks):
            for fd, _ in epoll.poll():
                if drain(socks[places[fd]], heard[places[fd]]):
                    epoll.unregister(fd)
                    del places[fd]
    return [b"".join(pieces) for pieces in heard]

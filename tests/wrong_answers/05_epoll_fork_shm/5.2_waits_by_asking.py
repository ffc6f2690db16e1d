"""Every socket is asked in turn, for ever, without epoll.

check: test_a_burst_is_read_to_its_end
says: a loop around recv that waits by asking
"""

import select


def collect(socks):
    heard = [[] for _ in socks]
    places = {sock.fileno(): place for place, sock in enumerate(socks)}
    with select.epoll() as epoll:
        for sock in socks:
            sock.setblocking(False)
            epoll.register(sock, select.EPOLLIN | select.EPOLLET)
        while places:
            for fd in list(places):
                if drain(socks[places[fd]], heard[places[fd]]):
                    epoll.unregister(fd)
                    del places[fd]
    return [b"".join(pieces) for pieces in heard]

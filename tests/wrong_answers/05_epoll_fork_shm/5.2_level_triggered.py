"""Level-triggered, as poll was.

check: test_a_burst_is_read_to_its_end
says: level-triggered, or told anew
"""

import select


def collect(socks):
    heard = [[] for _ in socks]
    places = {sock.fileno(): place for place, sock in enumerate(socks)}
    with select.epoll() as epoll:
        for sock in socks:
            sock.setblocking(False)
            epoll.register(sock, select.EPOLLIN)
        while places:
            for fd, _ in epoll.poll():
                if drain(socks[places[fd]], heard[places[fd]]):
                    epoll.unregister(fd)
                    del places[fd]
    return [b"".join(pieces) for pieces in heard]

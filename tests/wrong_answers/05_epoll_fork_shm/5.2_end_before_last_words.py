"""EPOLLRDHUP is handled first, and what came before it is not read.

check: test_last_words_and_the_end_come_together
says: EPOLLRDHUP or EPOLLHUP handled before
"""

import select


def collect(socks):
    heard = [[] for _ in socks]
    places = {sock.fileno(): place for place, sock in enumerate(socks)}
    with select.epoll() as epoll:
        for sock in socks:
            sock.setblocking(False)
            epoll.register(sock, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        while places:
            for fd, events in epoll.poll():
                if events & select.EPOLLRDHUP or drain(socks[places[fd]], heard[places[fd]]):
                    epoll.unregister(fd)
                    del places[fd]
    return [b"".join(pieces) for pieces in heard]

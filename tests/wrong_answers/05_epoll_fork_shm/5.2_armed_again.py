"""One recv for each event, and epoll is told of the socket anew to be told of the rest.

check: test_a_burst_is_read_to_its_end
says: EPOLL_CTL_MOD tells again of what is left
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
            for fd, _ in epoll.poll():
                piece = socks[places[fd]].recv(RECEIVE_BYTES)
                heard[places[fd]].append(piece)
                if piece:
                    epoll.modify(fd, select.EPOLLIN | select.EPOLLET)
                else:
                    epoll.unregister(fd)
                    del places[fd]
    return [b"".join(pieces) for pieces in heard]

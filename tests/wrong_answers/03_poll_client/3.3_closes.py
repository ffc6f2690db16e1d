"""close() in the place of shutdown(SHUT_WR): nothing can be received any more.

check: test_a_conversation
says: close where shutdown(SHUT_WR) belongs
"""


def ask(sock, source_fd):
    said, rest = [], b""
    sending = receiving = True
    while sending or receiving:
        source, network = wait_for_both(source_fd, sock, sending and not rest, receiving, rest)
        if network & ~select.POLLOUT and receiving:
            said.append(sock.recv(65536, socket.MSG_DONTWAIT))
            receiving = said[-1] != b""
        if network & select.POLLOUT:
            rest = rest[sock.send(rest, socket.MSG_DONTWAIT) :]
        if source:
            rest = os.read(source_fd, PIPE_BYTES)
            if not rest:
                sending = False
                sock.close()
    return b"".join(said)

"""It returns as soon as the source has ended.

check: test_a_conversation
says: leaving at the source's end
"""


def ask(sock, source_fd):
    said, rest = [], b""
    sending = receiving = True
    while sending:
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
                half_close(sock)
    return b"".join(said)

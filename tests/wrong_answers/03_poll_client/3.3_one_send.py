"""send's result is not looked at.

check: test_an_answer_while_it_sends
says: send's result not looked at
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
            sock.send(rest, socket.MSG_DONTWAIT)
            rest = b""
        if source:
            rest = os.read(source_fd, PIPE_BYTES)
            if not rest:
                sending = False
                half_close(sock)
    return b"".join(said)

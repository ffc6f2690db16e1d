"""The source is read to its end before anything is sent.

check: test_a_conversation
says: the source collected to its end
"""


def ask(sock, source_fd):
    said, rest = [], b""
    while data := os.read(source_fd, PIPE_BYTES):
        rest += data
    sending = receiving = True
    while sending or receiving:
        _, network = wait_for_both(source_fd, sock, False, receiving, rest or sending)
        if network & ~select.POLLOUT and receiving:
            said.append(sock.recv(65536, socket.MSG_DONTWAIT))
            receiving = said[-1] != b""
        if network & select.POLLOUT and rest:
            rest = rest[sock.send(rest, socket.MSG_DONTWAIT) :]
        if sending and not rest:
            sending = False
            half_close(sock)
    return b"".join(said)

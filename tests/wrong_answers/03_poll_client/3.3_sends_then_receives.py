"""First everything is sent, and only then is anything received.

check: test_an_answer_while_it_sends
says: a deadlock
"""


def ask(sock, source_fd):
    rest, said = b"", []
    while True:
        source, network = wait_for_both(source_fd, sock, not rest, False, rest)
        if network:
            rest = rest[sock.send(rest, socket.MSG_DONTWAIT) :]
        if source:
            rest = os.read(source_fd, PIPE_BYTES)
            if not rest:
                break
    half_close(sock)
    while wait_for_both(source_fd, sock, False, True, b"") and (data := sock.recv(65536, socket.MSG_DONTWAIT)):
        said.append(data)
    return b"".join(said)

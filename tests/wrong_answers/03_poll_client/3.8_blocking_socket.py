"""The socket is made blocking again, and a server that does not read stops the printing.

check: test_a_server_that_does_not_read
says: a splice that waits, and printing too
"""


def run_client(host, port, stdin_fd, stdout_fd):
    found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    sock = connect_first([address for *_, address in found], CONNECT_SECONDS)
    sock.setblocking(True)
    with sock, contextlib.closing(Uplink(stdin_fd, sock)) as uplink:
        screen = Screen(stdout_fd)
        while True:
            keyboard, network = poll_client(stdin_fd, sock, uplink)
            if network & ~select.POLLOUT:
                data = sock.recv(65536)
                screen.show(data)
                if not data:
                    return
            if not network & ENDED:
                with contextlib.suppress(ConnectionError):
                    uplink.turn(keyboard, network)

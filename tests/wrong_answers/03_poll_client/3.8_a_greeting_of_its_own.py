"""The client prints words of its own on standard output.

check: test_as_a_program
says: words of the client's own on standard output
"""


def run_client(host, port, stdin_fd, stdout_fd):
    found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    sock = connect_first([address for *_, address in found], CONNECT_SECONDS)
    print(f"connected to {host}:{port}", flush=True)
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

"""Standard input is polled on after its end.

check: test_the_input_ends
says: standard input polled after its end
"""


def poll_client(stdin_fd, sock, uplink):
    _, sock_events = uplink.events()
    return poll_both(stdin_fd, select.POLLIN, sock, sock_events | select.POLLIN | select.POLLRDHUP)

"""POLLOUT is taken for success, and SO_ERROR is not asked for.

check: test_a_failure_is_not_the_end
says: POLLOUT taken for success
"""


def connect_first(addresses, timeout):
    deadline = time.monotonic() + timeout
    poller, trying, failure = select.poll(), {}, 0
    try:
        for address in addresses:
            sock = socket.socket()
            trying[sock.fileno()] = sock
            sock.setblocking(False)
            error = sock.connect_ex(address)
            if error in (0, errno.EINPROGRESS):
                poller.register(sock, select.POLLOUT)
            else:
                failure = give_up(trying, sock, error)
        while trying:
            ready = poller.poll(1000 * max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError(errno.ETIMEDOUT, f"no answer within {timeout:g} s")
            for fd, _ in ready:
                return trying.pop(fd)
        raise OSError(failure, os.strerror(failure))
    finally:
        for sock in trying.values():
            sock.close()

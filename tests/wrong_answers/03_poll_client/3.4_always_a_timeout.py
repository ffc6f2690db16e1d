"""Whatever has failed, it says that nobody has answered in time.

check: test_all_fail
says: its errno not raised
"""


def connect_first(addresses, timeout):
    deadline = time.monotonic() + timeout
    poller, trying = select.poll(), {}
    try:
        for address in addresses:
            sock = socket.socket()
            trying[sock.fileno()] = sock
            sock.setblocking(False)
            error = sock.connect_ex(address)
            if error in (0, errno.EINPROGRESS):
                poller.register(sock, select.POLLOUT)
            else:
                give_up(trying, sock, error)
        while trying:
            ready = poller.poll(1000 * max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError(errno.ETIMEDOUT, f"no answer within {timeout:g} s")
            for fd, _ in ready:
                poller.unregister(fd)
                error = trying[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not error:
                    return trying.pop(fd)
                give_up(trying, trying[fd], error)
        raise TimeoutError(errno.ETIMEDOUT, "no connection")
    finally:
        for sock in trying.values():
            sock.close()

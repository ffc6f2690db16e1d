"""A socket that has failed stays in the poll object, and is ready for ever.

check: test_nobody_answers_in_time
says: a socket that has failed polled on
"""


def connect_first(addresses, timeout):
    deadline = time.monotonic() + timeout
    poller, trying, failed, failure = select.poll(), {}, set(), 0
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
        while len(failed) < len(trying):
            ready = poller.poll(1000 * max(deadline - time.monotonic(), 0))
            if not ready or time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, f"no answer within {timeout:g} s")
            for fd, _ in ready:
                error = trying[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    failure = error
                    failed.add(fd)
                elif fd not in failed:
                    return trying.pop(fd)
        raise OSError(failure, os.strerror(failure))
    finally:
        for sock in trying.values():
            sock.close()

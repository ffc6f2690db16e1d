"""One address after the other, each by a connect that waits.

check: test_the_first_that_answers
says: one address after the other
"""


def connect_first(addresses, timeout):
    failure = None
    for address in addresses:
        try:
            sock = socket.create_connection(address, timeout)
        except OSError as error:
            failure = error
        else:
            sock.setblocking(False)
            return sock
    raise failure

"""An exception about one client ends its worker.

check: test_a_bad_client_costs_its_own_connection_only
says: an exception about one client that ends the worker
"""

import contextlib


def work(channel, answer):
    with contextlib.suppress(ConnectionError):
        while (connection := receive_connection(channel)) is not None:
            with connection:
                converse(connection, answer)
            channel.send(b".")

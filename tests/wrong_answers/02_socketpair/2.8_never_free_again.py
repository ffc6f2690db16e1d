"""A worker does not tell that it is free again, and is taken for busy for ever.

check: test_a_connection_waits_for_a_free_worker
says: a worker that never tells that it is free again
"""

import contextlib


def work(channel, answer):
    with contextlib.suppress(ConnectionError):
        while (connection := receive_connection(channel)) is not None:
            with connection, contextlib.suppress(OSError, FrameTooLong):
                converse(connection, answer)

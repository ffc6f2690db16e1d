"""A worker tells a pool that is ending that it is free, and falls over the error.

check: test_it_ends_by_closing
says: a worker that fails (EPIPE, ECONNRESET)
"""

import contextlib


def work(channel, answer):
    while (connection := receive_connection(channel)) is not None:
        with connection, contextlib.suppress(OSError, FrameTooLong):
            converse(connection, answer)
        channel.send(b".")

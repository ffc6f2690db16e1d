"""A pipe's end is thought to look like that of a TCP connection.

check: test_pipes_and_files
says: a pipe taken for a socket
"""

PIPE_CLOSED = "IN RDHUP"

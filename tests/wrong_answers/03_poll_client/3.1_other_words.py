"""The names are written as C writes them.

check: test_no_connection
says: another name than IN
"""

NEVER_CONNECTED = "POLLHUP"

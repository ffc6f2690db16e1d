"""Where there is no connection, poll is thought to have nothing to say.

check: test_no_connection
says: a socket with nothing to say has ended both halves
"""

NEVER_CONNECTED = ""

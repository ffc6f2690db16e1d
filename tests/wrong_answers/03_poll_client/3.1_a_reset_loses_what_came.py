"""After a reset, what had come before it is thought to be lost.

check: test_connections
says: a reset ends both halves with an error, and what has come can still be read
"""

RESET_AFTER_DATA = "HUP ERR"

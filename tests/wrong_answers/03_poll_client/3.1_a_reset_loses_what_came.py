"""After a reset, what had come before it is thought to be lost.

check: test_connections
says: what has come can still be read, and poll says so
"""

RESET_AFTER_DATA = "HUP ERR"

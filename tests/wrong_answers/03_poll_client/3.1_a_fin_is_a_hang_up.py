"""A FIN is taken for the end of both halves.

check: test_connections
says: HUP needs the end of both halves
"""

FIN_AFTER_DATA = "HUP"

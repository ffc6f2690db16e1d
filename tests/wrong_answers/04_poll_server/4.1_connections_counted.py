"""Connections are counted, not descriptors.

check: test_ready
says: poll names descriptors
"""

READY = 3

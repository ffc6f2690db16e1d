"""A buffer that was full once is expected to stay full.

check: test_arrived
says: as soon as the reader has read there is room
"""

ARRIVED = 0

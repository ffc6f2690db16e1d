"""A failed accept is expected to take somebody out of the backlog.

check: test_wake_ups_at_the_limit
says: a failed accept that takes somebody out
"""

WAKE_UPS_AT_THE_LIMIT = 2

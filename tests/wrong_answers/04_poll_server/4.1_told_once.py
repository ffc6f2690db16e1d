"""POLLOUT is expected once, as news.

check: test_idle_wake_ups
says: poll tells what is so
"""

IDLE_WAKE_UPS = 1

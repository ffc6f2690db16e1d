"""Forks are added up instead of doubled processes.

check: test_processes
says: forks added up instead of processes
"""

PROCESSES = 6

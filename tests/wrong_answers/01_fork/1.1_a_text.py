"""The number is written as a text.

check: test_processes
says: set PROCESSES to a whole number
"""

PROCESSES = "4"

"""Two forks, so two children: the child of the first fork is thought to leave the loop.

check: test_processes
says: it goes on, and forks in its turn
"""

PROCESSES = 3

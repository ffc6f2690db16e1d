"""B's child is frozen for ever.

check: test_b_loses_the_second_line
says: a process frozen for ever
"""

SCHEDULE = ["A says", "freeze B", "A says", "A says"]

"""B's child is thawed before the next line comes.

check: test_b_loses_the_second_line
says: a thaw between two lines comes in time
"""

SCHEDULE = ["A says", "freeze B", "A says", "thaw B", "A says"]

"""The child of A is frozen, which then receives both lines in one piece.

check: test_b_loses_the_second_line
says: nobody came too late
"""

SCHEDULE = ["A says", "freeze A", "A says", "A says", "thaw A"]

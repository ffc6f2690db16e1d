"""B's child is frozen from the beginning.

check: test_b_loses_the_second_line
says: frozen too early
"""

SCHEDULE = ["freeze B", "A says", "A says", "A says", "thaw B"]

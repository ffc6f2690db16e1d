"""The parent is frozen, so that everybody hears too late.

check: test_c_loses_nothing
says: the parent frozen: then all children hear too late
"""

SCHEDULE = ["A says", "freeze parent", "A says", "A says", "thaw parent"]

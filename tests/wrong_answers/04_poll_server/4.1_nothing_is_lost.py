"""TCP and its like lose nothing, so all lines are expected.

check: test_arrived
says: is not a program that loses nothing
"""

ARRIVED = 10

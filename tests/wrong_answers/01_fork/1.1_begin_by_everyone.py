"""`begin` is counted for every process, though it was written before the first fork.

check: test_lines_on_a_terminal
says: `begin` counted for every process
"""

LINES_ON_A_TERMINAL = 16

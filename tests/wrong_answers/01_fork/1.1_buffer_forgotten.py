"""A file is taken for a terminal: the copied buffers are forgotten.

check: test_lines_in_a_file
says: the buffer forgotten
"""

LINES_IN_A_FILE = 11

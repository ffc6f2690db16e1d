"""A file at its end is taken for a pipe whose writer is gone.

check: test_pipes_and_files
says: a file taken for a pipe
"""

FILE_AT_ITS_END = "HUP"

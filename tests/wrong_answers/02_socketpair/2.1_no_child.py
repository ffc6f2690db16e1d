"""The parent computes the answer itself; the child only ends.

check: test_a_child_answers
says: transform called before the fork, or in the parent
"""

import os


def ask_child(transform, question):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return transform(question), reap(pid)

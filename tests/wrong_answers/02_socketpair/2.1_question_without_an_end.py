"""The parent does not tell that the question is over.

check: test_a_child_answers
says: never told the question's end by shutdown
"""

import os
import socket


def ask_child(transform, question):
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        leave_after(lambda: theirs.sendall(transform(read_to_end(theirs))))
    theirs.close()
    with ours:
        ours.sendall(question)
        answer = read_to_end(ours)
    return answer, reap(pid)

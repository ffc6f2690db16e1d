"""The parent keeps its copy of the child's end, so it never sees the end of the answer.

check: test_a_child_answers
says: is a zombie
"""

import os
import socket


def ask_child(transform, question):
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        leave_after(lambda: theirs.sendall(transform(read_to_end(theirs))))
    with ours:
        ours.sendall(question)
        ours.shutdown(socket.SHUT_WR)
        answer = read_to_end(ours)
    return answer, reap(pid)

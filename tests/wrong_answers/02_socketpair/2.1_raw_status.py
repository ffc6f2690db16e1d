"""The status is waitpid's own number, not an exit status.

check: test_a_child_that_does_not_answer
says: a status that is made up
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
        ours.shutdown(socket.SHUT_WR)
        answer = read_to_end(ours)
    return answer, os.waitpid(pid, 0)[1]

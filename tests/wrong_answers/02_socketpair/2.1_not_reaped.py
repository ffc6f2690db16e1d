"""The parent does not wait for the child.

check: test_the_child_is_reaped_and_both_ends_are_closed
says: no waitpid for the child
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
    return answer, 0

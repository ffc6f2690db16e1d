"""The child keeps its copy of the parent's end: shutdown ends the question all the same, but it is one end too many.

check: test_one_pair_and_one_end_each
says: the parent's end still open in the child
"""

import os
import socket


def ask_child(transform, question):
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        leave_after(lambda: theirs.sendall(transform(read_to_end(theirs))))
    theirs.close()
    with ours:
        ours.sendall(question)
        ours.shutdown(socket.SHUT_WR)
        answer = read_to_end(ours)
    return answer, reap(pid)

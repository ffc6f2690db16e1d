"""One recv for the whole question and one for the whole answer.

check: test_a_question_larger_than_the_buffers
says: one recv for the whole question or answer
"""

import os
import socket


def ask_child(transform, question):
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        leave_after(lambda: theirs.sendall(transform(theirs.recv(1 << 20))))
    theirs.close()
    with ours:
        ours.send(question, socket.MSG_DONTWAIT)
        ours.shutdown(socket.SHUT_WR)
        answer = ours.recv(1 << 20)
    return answer, reap(pid)

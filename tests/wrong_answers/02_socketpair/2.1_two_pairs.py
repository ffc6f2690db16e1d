"""A pair for the question and another for the answer, as one would with pipes.

check: test_one_pair_and_one_end_each
says: two pairs or pipes where one pair does
"""

import os
import socket


def ask_child(transform, question):
    questions_in, questions_out = socket.socketpair()
    answers_in, answers_out = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        questions_out.close()
        answers_in.close()
        leave_after(lambda: answers_out.sendall(transform(read_to_end(questions_in))))
    questions_in.close()
    answers_out.close()
    questions_out.sendall(question)
    questions_out.close()
    answer = read_to_end(answers_in)
    answers_in.close()
    return answer, reap(pid)

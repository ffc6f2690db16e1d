"""Lab 01, fork: the exercises. Edit this file and no other; `make check-1` judges it, `make hint EX=1.2` helps.

Each docstring is the whole contract. An exit status is given as `subprocess` gives it: 0 to 255 for a process that has
left with that status, -N for one that signal N has ended (os.waitstatus_to_exitcode).
"""

# 1.1 Predict. Read this program, think, and replace the three None by numbers; `make check-1` runs it and compares.
# It is started once, from a shell. Its standard output is a terminal the first time, and a file the second.
#
#     import os
#
#     print("begin")
#     for number in range(2):
#         if os.fork() == 0:
#             print("born")
#         else:
#             print("forked")
#     print("end")

PROCESSES = None  # how many processes take part, the first one included
LINES_ON_A_TERMINAL = None  # how many lines appear in all when standard output is a terminal
LINES_IN_A_FILE = None  # how many lines are in the file in all when standard output is a file


def spawn_and_reap(codes, gates):
    """1.2 Start one child for each code, all at once; reap every one, and tell how each has ended.

    Child k reads one byte from the descriptor gates[k] (the caller writes it, in an order of her own), and then leaves
    with the exit status codes[k]; when codes[k] is -9 or -15, it ends itself by SIGKILL or SIGTERM instead.
    Every child is started before the first one is waited for.

    Arguments: codes, a list of int, each 0 to 255, -9 or -15; it may be empty.
    gates, a list of as many int: descriptors open for reading. They are the caller's, and stay open here.
    Returns a list of int: the status of each child, in the order of `codes`, in whatever order the children have ended.
    Every child started here is reaped; other children of the caller, ended or not, are left to her.
    Source: fork(2), waitpid(2); APUE 8.6.
    """
    raise NotImplementedError("exercise 1.2 is not started")


def run_in_child(work, *arguments):
    """1.3 Call work(*arguments) in a child, and return the child's exit status.

    The child's exit status is what `work` returns, an int from 0 to 255. When `work` raises any exception, SystemExit
    and KeyboardInterrupt too, the status is 113; the child may report the exception on standard error.
    Whatever is printed appears exactly once: what the caller printed before, flushed or not, and what `work` prints.
    Nothing of the caller's code runs in the child: no `finally` around the call, no exit handler (atexit).

    Arguments: work, a function; arguments, what it is called with.
    Returns int: the child's status, -N when a signal ended it. The child is reaped.
    Source: exit(3), _exit(2); TLPI 25.4.
    """
    raise NotImplementedError("exercise 1.3 is not started")


def serve_in_child(listener, serve):
    """1.4 Accept one connection, and let a child serve it.

    The child calls serve(connection) and leaves with status 0, or with status 1 when `serve` raises an exception. The
    parent does not wait for it: it returns as soon as the child is started, and its caller will reap the child.
    While the child serves, it holds the connection and not the listener. When this function returns, the parent holds
    the listener and not the connection, closed by a close of yours and not by Python's garbage collector. So the client
    sees end of file as soon as `serve` has returned, and the listener can be used again.

    Arguments: listener, a listening TCP socket that blocks; serve, a function of one connected socket.
    Returns int: the child's pid.
    Source: accept(2), close(2); UNP 4.8.
    """
    raise NotImplementedError("exercise 1.4 is not started")


def spawn_all(n):
    """1.5 Start n workers, or none.

    A worker is a child with a pipe of its own: it waits until it reads end of file there, and leaves with status 0. So
    a worker ends when its caller closes the writing end, whatever the other workers do at that time.
    When a fork fails, this function first undoes what it has done: every worker that was started ends and is reaped,
    and every descriptor that was opened is closed. Then it raises an OSError with the errno of the fork, and a text
    that says how many of how many workers had been started, and in words why no more were:
    OSError(errno.ENOMEM, "started 2 of 5 workers: Cannot allocate memory").

    Arguments: n, an int of at least 1.
    Returns a list of n pairs (pid, descriptor): the worker, and the writing end of its pipe.
    Raises OSError as said.
    Source: fork(2), section ERRORS; pipe(7).
    """
    raise NotImplementedError("exercise 1.5 is not started")


def run_pipeline(first, second):
    """1.6 Run `first | second` as a shell does, and tell how both have ended.

    Both programs run at the same time. The standard output of the first is the standard input of the second, through a
    pipe; all else they share with the caller. A program that writes when nobody can read any more is ended by SIGPIPE,
    as under a shell (Python ignores this signal, and exec passes that on). A program that cannot be found or run has
    the status 127, and the other one still runs.

    Arguments: first, second: each the argument vector of a program, a list of str, to be found along PATH.
    Returns a pair of int: the status of the first and of the second, -N when a signal ended it (-13: SIGPIPE).
    Both are reaped, and no descriptor is left open.
    Source: pipe(2), dup2(2), exec(3), signal(7); TLPI 44.4.
    """
    raise NotImplementedError("exercise 1.6 is not started")

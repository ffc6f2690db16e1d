"""Lab 01, fork: solutions. The contracts stand in the docstrings of labs/01_fork/exercises.py."""

import os
import signal
import sys
import traceback

PROCESSES = 4  # each of the two forks doubles them
LINES_ON_A_TERMINAL = 11  # begin once; one line a process after each fork, 2 + 4; end four times
LINES_IN_A_FILE = 16  # each of the four processes writes, at its end, the whole of the story that led to it: 4 lines


def spawn_and_reap(codes, gates):
    pids = []
    for code, gate in zip(codes, gates, strict=True):
        pid = os.fork()
        if pid == 0:
            leave_as_told(code, gate)
        pids.append(pid)
    return [reap(pid) for pid in pids]


def leave_as_told(code, gate):
    try:
        os.read(gate, 1)
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(code)
    finally:
        os._exit(255)


def reap(pid):
    """Wait for this child, and for no other."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_in_child(work, *arguments):
    sys.stdout.flush()  # else the child has a copy of what the caller has printed
    pid = os.fork()
    if pid == 0:
        status = 113
        try:
            status = int(work(*arguments))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()  # what `work` has printed, and nothing else
            os._exit(status)
    return reap(pid)


def serve_in_child(listener, serve):
    connection, _ = listener.accept()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            listener.close()
            serve(connection)
            status = 0
        finally:
            os._exit(status)
    connection.close()
    return pid


def spawn_all(n):
    workers = []
    for _ in range(n):
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            end_workers(workers)
            text = f"started {len(workers)} of {n} workers: {os.strerror(error.errno)}"
            raise OSError(error.errno, text) from error
        if pid == 0:
            be_a_worker(reading, [writing, *(descriptor for _, descriptor in workers)])
        os.close(reading)
        workers.append((pid, writing))
    return workers


def be_a_worker(reading, writing_ends):
    """A worker's whole life. It has copies of its own writing end and of its elder siblings': with them open, no end
    of file ever comes."""
    try:
        for descriptor in writing_ends:
            os.close(descriptor)
        while os.read(reading, 4096):
            pass
    finally:
        os._exit(0)


def end_workers(workers):
    for pid, descriptor in workers:
        os.close(descriptor)
        reap(pid)


def run_pipeline(first, second):
    reading, writing = os.pipe()
    pids = [start_program(first, writing, 1), start_program(second, reading, 0)]
    os.close(reading)
    os.close(writing)
    return tuple(reap(pid) for pid in pids)


def start_program(argv, descriptor, number):
    """Start a program with this descriptor as its `number`; the pipe itself is closed by exec (PEP 446)."""
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(descriptor, number)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execvp(argv[0], argv)
        finally:
            os._exit(127)
    return pid

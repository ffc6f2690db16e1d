"""5.6 torn and overrun reads detected: a writer stopped in the middle of a record, and one that overtakes a reader."""

import mmap
import socket

import pytest

pytestmark = pytest.mark.exercise("5.6")
READ = "Torn and overrun"
NUMBERS_BYTES = 24  # BEGIN, LENGTH, END
USED_TOO_SOON = "bytes used before the numbers are looked at"

HELPERS = """
import mmap, os, signal

def cells_over(path, count, size):
    with open(path, "r+b") as file:
        return Cells(mmap.mmap(file.fileno(), 0), count, size)

def write(cells, number, data):
    seen = []

    def fill(view):
        seen.append([type(view).__name__, len(view)])
        view[:len(data)] = data
        return len(data)

    return [cells.write(number, fill), seen]

def write_and_fail(cells, number, data):
    def fill(view):
        view[:len(data)] = data
        raise ConnectionResetError("while a record was received")

    cells.write(number, fill)

def fork_writer(cells, number, data, sock):
    half = len(data) // 2

    def fill(view):
        view[:half] = data[:half]
        sock.sendall(b"half")
        if not sock.recv(1):
            os._exit(1)
        view[half:len(data)] = data[half:]
        return len(data)

    pid = os.fork()
    if pid == 0:
        try:
            if sock.recv(1):
                cells.write(number, fill)
                sock.sendall(b"whole")
        finally:
            os._exit(0)
    return pid

def read(cells, number, sock=None):
    seen = []

    def use(view):
        if sock:
            sock.sendall(b"using")
            sock.recv(1)
        seen.append([type(view).__name__, bytes(view)])
        return len(seen) * 1000 + number

    answer = cells.read(number, use)
    return [list(answer) if isinstance(answer, (list, tuple)) else answer, seen]
"""


class Shared:
    """Cells in the student's process, over a file that the judge has mapped too: both see the same memory."""

    def __init__(self, student):
        self.student = student
        self.count = student.random.randrange(3, 6)
        self.size = 8 * student.random.randrange(5, 20)
        path = student.scratch / "cells"
        path.write_bytes(bytes(self.count * (NUMBERS_BYTES + self.size)))
        with path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        self.words = memoryview(self.memory).cast("Q")
        student.define(HELPERS)
        step = f"Cells(memory, {self.count}, {self.size}), over memory that the judge sees too"
        self.cells = student.call("cells_over", "cells", self.count, self.size, step=step).value

    def record(self, length=None):
        """Random bytes for a record, none of them zero."""
        length = self.student.random.randrange(2, self.size + 1) if length is None else length
        return bytes(self.student.random.choices(range(1, 256), k=length))

    def numbers(self, number):
        """What the memory says of the record's cell: BEGIN, LENGTH, END."""
        words = (NUMBERS_BYTES + self.size) // 8
        first = number % self.count * words
        return self.words[first], self.words[first + 1], self.words[first + words - 1]

    def payload(self, number, length):
        """What the memory has as the record's bytes."""
        first = number % self.count * (NUMBERS_BYTES + self.size) + 16
        return self.memory[first : first + length]

    def write(self, number, data):
        """Let the student's process write a record, and look at what it has stored."""
        step = f"write record {number}, {len(data)} bytes"
        returned, seen = self.student.call("write", self.cells, number, data, step=step).value
        self.student.should(
            seen == [["memoryview", self.size]],
            should=f"call fill once, with a memoryview of {self.size} bytes",
            but=f"it was called with {seen}",
            mistake="a buffer beside the memory, or a view of another size",
            read=READ,
        )
        self.student.should(
            returned == len(data),
            should=f"return {len(data)}, as fill did",
            but=f"it returned {returned!r}",
            read=READ,
        )
        found = (*self.numbers(number), self.payload(number, len(data)))
        self.student.should(
            found == (number, len(data), number, data),
            should=f"leave BEGIN {number}, LENGTH {len(data)}, the bytes, END {number} in cell {number % self.count}",
            but=f"BEGIN is {found[0]}, LENGTH {found[1]}, END {found[2]}; "
            f"the bytes are {'right' if found[3] == data else 'others'}",
            mistake="another place, or another number, than the docstring's",
            read=READ,
        )

    def reads(self, number, state, mistake, data=None):
        """read(number) must give this state, and use must have been called for a good record only."""
        value = self.student.call("read", self.cells, number, step=f"read record {number}").value
        self.must_be(value, number, state, mistake, data)

    def must_be(self, value, number, state, mistake, data=None):
        """What came of a read must be this state."""
        answer, seen = value
        wanted = ["good", 1000 + number] if state == "good" else [state, None]
        self.student.should(
            answer == wanted,
            should=f"give {(state, 'what use returned' if state == 'good' else None)!r} for record {number}",
            but=f"it gave {tuple(answer) if isinstance(answer, list) else answer!r}",
            mistake=mistake,
            read=READ,
        )
        if state == "good":
            self.student.should(
                seen == [["memoryview", data]],
                should=f"call use once, with a memoryview of the record's {len(data)} bytes",
                but=f"it was called with {[[kind, len(bytes_)] for kind, bytes_ in seen]}"
                f"{'' if [each[1] for each in seen] == [data] else ', and they are not those of the record'}",
                mistake="a copy made before use, or the whole cell where LENGTH says how much of it counts",
                read=READ,
            )

    def must_not_use(self, number, state, mistake):
        """As `reads`, of a record that is not there whole: and use must not be called."""
        value = self.student.call("read", self.cells, number, step=f"read record {number}").value
        self.must_be(value, number, state, mistake)
        self.student.should(
            not value[1],
            should=f"leave use alone: record {number} is not there, or not whole",
            but="use was called",
            mistake=USED_TOO_SOON,
            read=READ,
        )

    def writer(self, number, data):
        """A writer in a process of its own, that will stop in the middle of this record: (its pid, the judge's end)."""
        mine, theirs = socket.socketpair()
        step = f"another process is forked, which will write record {number}"
        pid = self.student.call("fork_writer", self.cells, number, data, theirs, step=step).value
        theirs.close()
        return pid, mine

    def until_half(self, writer, number):
        """Let the writer begin, and wait until it has stored half of the bytes."""
        self.student.step(f"that process writes half of record {number}, and stops there")
        writer.sendall(b"!")
        self.student.receives(writer, b"half", should="let fill write the record", read=READ)

    def until_whole(self, writer, number):
        """Let the writer finish."""
        self.student.step(f"it writes the rest of record {number}")
        writer.sendall(b"!")
        self.student.receives(writer, b"whole", should="finish the record", read=READ)


def test_records_are_written_and_read_in_place(student):
    """Records go round and round through the cells, and are read where they lie."""
    shared = Shared(student)
    for number in range(1, 2 * shared.count + 2):
        data = shared.record({2: 0, 3: shared.size}.get(number))
        shared.write(number, data)
        shared.reads(number, "good", "a record that is there, not found", data)


def test_early_and_overrun_are_told_apart(student):
    """A record that is not written yet is early, one whose place is taken is overrun."""
    shared = Shared(student)
    shared.must_not_use(1, "early", "an empty cell, whose numbers are 0, taken for a record")
    last = shared.count + student.random.randrange(1, shared.count)
    for number in range(1, last + 1):
        shared.write(number, shared.record())
    mistake = "one answer for every other number: a smaller one in the cell is early, a greater one overrun"
    shared.must_not_use(last + 1, "early", mistake)
    shared.must_not_use(last + shared.count, "early", mistake)
    shared.must_not_use(last - shared.count, "overrun", mistake)


def test_a_record_half_written_is_torn(student):
    """A writer that stops in the middle of a record leaves it torn, and what was there before overrun."""
    shared = Shared(student)
    for number in range(1, shared.count + 2):
        shared.write(number, shared.record())
    number = shared.count + 2
    data = shared.record(shared.size)
    _, writer = shared.writer(number, data)
    shared.until_half(writer, number)
    begin, _, end = shared.numbers(number)
    student.should(
        begin == number and end != number,
        should=f"store BEGIN {number} before fill is called, and END when all is there",
        but=f"in the middle of the record BEGIN is {begin}, and END {end}",
        mistake="both numbers stored before the bytes, or both behind them: they tell nothing of what is between",
        read=READ,
    )
    shared.must_not_use(number, "torn", "one number looked at where there are two: BEGIN says begun, END says finished")
    shared.must_not_use(
        number - shared.count, "overrun", "the old record taken for good while the new one is written over it"
    )
    shared.until_whole(writer, number)
    shared.reads(number, "good", "a record that is finished, and still not good", data)


def test_a_writer_that_dies_leaves_it_torn(student):
    """A record whose writer died in the middle of it, or whose fill has failed, stays torn."""
    shared = Shared(student)
    number = shared.count + 1
    for earlier in range(1, number):
        shared.write(earlier, shared.record())
    _, writer = shared.writer(number, shared.record(shared.size))
    shared.until_half(writer, number)
    student.step("it dies there")
    writer.close()
    shared.must_not_use(number, "torn", "half a record taken for a whole one")
    step = f"write record {number + 1}, and fill raises ConnectionResetError"
    call = student.call("write_and_fail", shared.cells, number + 1, shared.record(), step=step, raises=True)
    student.should(
        call.exception is not None and call.exception.type == "ConnectionResetError",
        should="pass on what fill raises",
        but=f"it raised {call.exception}" if call.exception else "it returned",
        mistake="an exception of fill swallowed",
        read=READ,
    )
    shared.must_not_use(number + 1, "torn", "END stored in a `finally`, or by an `except`: the record is not finished")


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "begun"])
def test_overwritten_while_it_is_used(student, finished):
    """A record that is written over while it is used is overrun, and what use returned is thrown away."""
    shared = Shared(student)
    for number in range(1, shared.count + 1):
        shared.write(number, shared.record())
    old = student.random.randrange(1, shared.count + 1)
    later = old + shared.count
    _, writer = shared.writer(later, shared.record(shared.size))
    reader, theirs = socket.socketpair()
    pending = student.start(
        "read", shared.cells, old, theirs, step=f"read record {old}, with a use that takes its time"
    )
    student.receives(reader, b"using", should="call use: the record is there", mistake="", read=READ)
    shared.until_half(writer, later)
    if finished:
        shared.until_whole(writer, later)
    student.step("use returns")
    reader.sendall(b"!")
    value = pending.result(hangs="a read that waits for the writer", read=READ).value
    shared.must_be(
        value,
        old,
        "overrun",
        "BEGIN not looked at after use: END keeps its old number until the later record is finished"
        if not finished
        else "the numbers looked at before use only: the record was good then, and is not any more",
    )

"""5.5 a ring with wrap-around: against a model, between two processes, and stopped before every step."""

import pytest

pytestmark = pytest.mark.exercise("5.5")
READ = "A ring"
STREAM_BYTES = 100_000  # some dozens of times the ring: on a busy machine each time may take a while
PATIENCE_SECONDS = 5.0
SECONDS = 7.0
OPERATIONS = 120

HELPERS = """
import mmap, os, random, sys, time

HEAD = 128

class Memory:
    # A ring's memory, with `before` in it already, and what a reader would find in it.
    def __init__(self, size, position=0, before=b""):
        self.size = size
        self.bytes = memoryview(mmap.mmap(-1, HEAD + size))
        self.words = self.bytes[:HEAD].cast("Q")
        self.words[8] = position
        self.store(position, before)
        self.words[0] = position + len(before)

    def store(self, position, data):
        for number, byte in enumerate(data, position):
            self.bytes[HEAD + number % self.size] = byte

    def found(self):
        # (written, read, the bytes between the two, or None when they cannot be)
        written, read = self.words[0], self.words[8]
        if not 0 <= written - read <= self.size:
            return written, read, None
        return written, read, bytes(self.bytes[HEAD + number % self.size] for number in range(read, written))

def perform(size, position, operations, rings=1):
    # For each operation: what it returned, and what is in the memory then. The Ring objects take turns.
    memory = Memory(size, position)
    objects, seen = [Ring(memory.bytes) for _ in range(rings)], []
    for place, (name, argument) in enumerate(operations):
        if rings > 1 and place == len(operations) // 2:
            objects.append(Ring(memory.bytes))
        seen.append((getattr(objects[place % len(objects)], name)(argument), memory.found()))
    return seen

def two_processes(size, data, seconds):
    # A child writes data into a ring, the parent reads it: (its status, how much came, how much of it is right).
    ring, until = Ring(Memory(size).bytes), time.monotonic() + seconds
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            written = 0
            while written < len(data) and time.monotonic() < until:
                count = ring.write(data[written : written + random.randrange(1, size + size // 2)])
                written += count
                if not count:
                    os.sched_yield()
            status = 0
        finally:
            os._exit(status)
    got = bytearray()
    while len(got) < len(data) and time.monotonic() < until:
        piece = ring.read(random.randrange(1, size + size // 2))
        got += piece
        if not piece:
            os.sched_yield()
    status = os.waitpid(pid, 0)[1]
    same = next((place for place, (a, b) in enumerate(zip(got, data)) if a != b), min(len(got), len(data)))
    return status, len(got), same

def step_by_step(look, function, argument):
    # function(argument), and look() before every step that Python takes in it. What is written in C is one step, so
    # the names of such functions are kept: (what it returned, these names).
    called = set()
    def tracer(frame, event, _):
        frame.f_trace_opcodes = True
        look()
        return tracer
    def profiler(frame, event, argument):
        if event == "c_call":
            called.add(argument.__name__)
    sys.settrace(tracer)
    sys.setprofile(profiler)
    try:
        return function(argument), called
    finally:
        sys.settrace(None)
        sys.setprofile(None)

def write_step_by_step(size, position, before, data):
    # (what write returned, what it called, the different things that a reader could have found meanwhile, in order)
    memory, seen = Memory(size, position, before), []
    def look():
        if memory.found() not in seen:
            seen.append(memory.found())
    ring = Ring(memory.bytes)
    count, called = step_by_step(look, ring.write, data)
    look()
    return count, called, seen

def read_step_by_step(size, position, before, limit):
    # (what read returned, what it called), while a writer uses whatever room it has, as soon as it has it.
    memory = Memory(size, position, before)
    def look():
        if position < memory.words[8] <= memory.words[0]:
            memory.store(memory.words[0], b"#" * (size - (memory.words[0] - memory.words[8])))
    ring = Ring(memory.bytes)
    return step_by_step(look, ring.read, limit)
"""


class Model:
    """What a ring does."""

    def __init__(self, size, position):
        self.size, self.written, self.data = size, position, b""

    def write(self, data):
        count = min(len(data), self.size - len(self.data))
        self.data += data[:count]
        self.written += count
        return count

    def read(self, limit):
        data, self.data = self.data[:limit], self.data[limit:]
        return data

    def found(self):
        return self.written, self.written - len(self.data), self.data


def some_operations(student, size):
    """Writes and reads of random lengths, more than a whole ring among them."""
    operations = []
    for _ in range(OPERATIONS):
        length = student.random.choice([0, 1, size - 1, size, size + 5, student.random.randrange(size)])
        write = student.random.random() < 0.55
        operations.append(("write", student.random.randbytes(length)) if write else ("read", length))
    return operations


def in_words(operation):
    name, argument = operation
    return f"write({len(argument)} bytes)" if name == "write" else f"read({argument})"


def perform(student, size, position, operations, *, rings=1, mistake=""):
    """Carry out the operations, and give each with what was seen and what should have been seen.

    mistake: the likely one when an operation raises.
    """
    student.define(HELPERS)
    step = f"a ring of {size} bytes, both positions at {position}"
    if rings > 1:
        step += f", with {rings} Ring objects over it that take turns, and one more later"
    call = student.call("perform", size, position, operations, rings, raises=bool(mistake), step=step, read=READ)
    student.should(call.exception is None, "read and write", f"it raised {call.exception}", mistake, READ)
    model = Model(size, position)
    expected = [(getattr(model, name)(argument), model.found()) for name, argument in operations]
    return zip(operations, call.value, expected, strict=True)


def agrees(student, performed, mistake):
    """Each operation must return what the model returns."""
    held = 0
    for operation, (got, _), (wanted, found) in performed:
        if got != wanted:
            student.step(f"bytes in it: {held}; {in_words(operation)}")
            student.should(
                False,
                should=f"return {shown(wanted)}",
                but=f"it returned {shown(got)}" + (", others" if sized(got) == sized(wanted) else ""),
                mistake=mistake(operation, got, wanted, held) if callable(mistake) else mistake,
                read=READ,
            )
        held = len(found[2])


def sized(value):
    return len(value) if isinstance(value, bytes) else value


def shown(value):
    return f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)


def test_what_is_written_is_read(student):
    """What is written is read, in order, across the ring's end, and in parts when it does not fit."""
    size = student.random.randrange(20, 60)

    def mistake(operation, got, wanted, held):
        if operation[0] == "write" and got == 0:
            return "all or nothing: as much is taken as there is room for"
        if isinstance(got, bytes) and len(got) == len(wanted):
            return "what goes beyond the ring's end is left out, or not begun again at place 0"
        return "a stop at the ring's end: what is left of it goes on at place 0"

    agrees(student, perform(student, size, 0, some_operations(student, size)), mistake)


def test_where_everything_lies(student):
    """The positions and the bytes are where the contract says, and a position only grows."""
    size = student.random.randrange(20, 60)
    position = student.random.randrange(10**6, 2**40)
    for operation, (_, got), (_, wanted) in perform(student, size, position, some_operations(student, size)):
        if got != wanted:
            student.step(in_words(operation))
            student.should(
                got[:2] == wanted[:2],
                should=f"have the positions {wanted[0]} (written) and {wanted[1]} (read) in memory[0:8] and [64:72]",
                but=f"they are {got[0]} and {got[1]}",
                mistake="positions kept elsewhere, or reduced by % size: they only grow, and % is for places alone",
                read=READ,
            )
            student.should(
                False,
                should="have byte number n at place n % size, counted from memory[128]",
                but="other bytes lie between the two positions",
                mistake="places counted from the beginning of the memory, or of what was written",
                read=READ,
            )


def test_full_and_empty(student):
    """Full and empty are told apart, and every byte of the ring is used."""
    size = student.random.randrange(20, 60)
    whole = student.random.randbytes(size)
    full = [("write", whole), ("write", b"x"), ("read", size), ("read", 1)]
    turn = [("write", b"turn on"), ("read", 7)]

    def mistake(operation, got, wanted, held):
        if operation[0] == "write" and held == 0:
            return "a byte left unused, to tell full from empty: positions that only grow need none"
        return "full taken for empty, since both positions are at the same place: compare the positions, not the places"

    agrees(student, perform(student, size, 0, [*full, *turn, *full]), mistake)


def test_all_is_in_the_memory(student):
    """All there is to know is in the memory: any Ring object goes on where the others stopped."""
    size = student.random.randrange(40, 60)
    position = student.random.randrange(10**6, 2**40)
    operations = []
    for _ in range(10):  # never empty in between, so that whoever knows less has something to miss
        length = student.random.randrange(8, 16)
        operations += [("write", student.random.randbytes(16)), ("read", 8), ("write", b"x"), ("read", length - 8)]
    mistake = "a position remembered in the object, or set to 0 by a new one: another object, or process, has moved it"
    agrees(student, perform(student, size, position, operations, rings=2, mistake=mistake), mistake)


def test_two_processes(student):
    """One process writes while another one reads, and everything arrives."""
    student.define(HELPERS)
    size = student.random.randrange(2000, 4000)
    data = student.random.randbytes(STREAM_BYTES)
    status, got, same = student.call(
        "two_processes",
        size,
        data,
        PATIENCE_SECONDS * student.scale,
        step=f"a child writes {len(data)} bytes into a ring of {size}, the parent reads them",
        hangs="a loop that waits for the other side: 0 and b'' are answers",
        timeout=SECONDS,
        read=READ,
    ).value
    student.should(status == 0, should="write in a child", but="it raised, as its last words say", read=READ)
    student.should(
        same == got,
        should="bring over what was written",
        but=f"byte number {same} is another one",
        mistake="a position that has moved before the bytes were copied",
        read=READ,
    )
    student.should(
        got == len(data),
        should=f"bring over all {len(data)} bytes",
        but=f"{got} came, and nothing more in {PATIENCE_SECONDS * student.scale:g} s",
        mistake="the other side's position remembered: only the memory knows how far it is by now",
        read=READ,
    )


def crossing(student):
    """size, position, what is in the ring, and more: so that both what is in it and what is added cross its end."""
    size = student.random.randrange(40, 60)
    held = student.random.randrange(12, 20)
    position = size * student.random.randrange(1, 1000) + size - held // 2
    return size, position, student.random.randbytes(held)


def stores_at_once(student, called):
    """A position must not be stored by what clears it first: no step of Python is between the two."""
    student.should(
        "pack_into" not in called,
        should="store a position at once, as memoryview.cast does",
        but="it called struct.pack_into",
        mistake="a position that is 0 for a moment: struct.pack_into clears the bytes, and then fills them",
        read="One writer for each field",
    )


def test_a_writer_stopped_anywhere(student):
    """A writer that is stopped anywhere leaves nothing unwritten in what can be read."""
    student.define(HELPERS)
    for turn in range(2):
        size, position, before = crossing(student)
        start = position - len(before) if turn else position  # the second time the ring's end comes in what is added
        data = student.random.randbytes(size - len(before) - student.random.randrange(3))
        count, called, seen = student.call(
            "write_step_by_step",
            size,
            start,
            before,
            data,
            step=f"write({len(data)} bytes) into a ring of {size}, stopped before every step that Python takes",
            read=READ,
        ).value
        stores_at_once(student, called)
        student.should(count == len(data), f"return {len(data)}", f"it returned {count!r}", read=READ)
        whole = before + data
        for written, read, found in seen:
            student.should(
                read == start and start + len(before) <= written <= start + len(whole),
                should="move the writer's position, once, and no other",
                but=f"at some moment the positions are {written - start} (written) and {read - start} (read), counted"
                " from where the reader is",
                mistake="a position that takes another value in between, or the reader's position stored by the writer",
                read=READ,
            )
            student.should(
                found == whole[: written - start],
                should="have every byte in the ring that the position speaks of",
                but="at some moment a reader finds bytes that were not copied yet",
                mistake="the position stored before the bytes: whoever reads then gets what was there before",
                read=READ,
            )


def test_a_reader_stopped_anywhere(student):
    """A reader that is stopped anywhere gets what was written for it, whatever the writer does then."""
    student.define(HELPERS)
    for _ in range(2):
        size, position, before = crossing(student)
        limit = len(before) - student.random.randrange(3)
        got, called = student.call(
            "read_step_by_step",
            size,
            position,
            before,
            limit,
            step=f"read({limit}), stopped before every step that Python takes; a writer fills what room there is",
            read=READ,
        ).value
        stores_at_once(student, called)
        student.should(
            got == before[:limit],
            should=f"return the {limit} bytes that were written first",
            but=f"it returned {shown(got)}"
            + (f", {got.count(b'#')} of them written later" if isinstance(got, bytes) and b"#" in got else ""),
            mistake="the position stored before the bytes are copied: from then on a writer may overwrite them",
            read=READ,
        )

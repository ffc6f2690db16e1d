"""4.2 lines from chunks: whole lines out of a stream, however it is cut."""

import pytest

pytestmark = pytest.mark.exercise("4.2")
READ = "Lines, not chunks"
MOMENT_SECONDS = 2.0  # a reader that is linear needs a twentieth of that; one that is quadratic, half a minute

HELPERS = """
def feed_each(limit, chunks):
    reader = LineReader(limit)
    return [reader.feed(chunk) for chunk in chunks]

def feed_and_leave(limit, chunks, how):
    reader = LineReader(limit)
    for chunk in chunks:
        reader.feed(chunk)
    return getattr(reader, how)(), reader.finish()

def feed_too_much(limit, chunks):
    reader = LineReader(limit)
    lines, fed = [], 0
    for chunk in chunks:
        fed += len(chunk)
        try:
            lines += reader.feed(chunk)
        except LineTooLong as error:
            return lines + list(error.lines), fed
    return lines, None

def trickle(pieces, piece):
    reader = LineReader(2 * pieces * len(piece))
    for _ in range(pieces):
        reader.feed(piece)
    return len(reader.feed(b"\\n")[0])

def count_lines(line, count):
    return len(LineReader().feed(line * count))
"""


def some_lines(student, count):
    """Random lines of any bytes: NUL, 0xFF, a carriage return and an empty line are among them."""
    bodies = [b"", b"\0", b"a\r\xff"]
    bodies += [student.random.randbytes(student.random.randrange(3, 30)) for _ in range(count - 3)]
    student.random.shuffle(bodies)
    return [body.replace(b"\n", b"-") + b"\n" for body in bodies]


def flat(results):
    """The lines of several feeds, in one list; the check says what is wrong when they are no lists."""
    return [line for lines in results if isinstance(lines, list) for line in lines]


def what_became_of(lines, got):
    """The likely mistake, from the lines that came out."""
    if len(got) > len(lines):
        return "a carriage return taken for an end too, as splitlines does: only a newline ends a line"
    if len(b"".join(got)) < len(b"".join(lines)):
        return "what has come of an unfinished line forgotten between two chunks, or a newline or an empty line lost"
    return "other bytes than those that came"


def test_a_byte_at_a_time(student):
    """A line that comes byte by byte comes out whole, with its last byte."""
    student.define(HELPERS)
    lines = some_lines(student, 6)
    stream = b"".join(lines)
    chunks = [stream[place : place + 1] for place in range(len(stream))]
    got = student.call("feed_each", 100, chunks, step=f"feed 6 lines, {len(chunks)} bytes, one at a time").value
    student.should(
        flat(got) == lines,
        should="give the 6 lines, byte for byte",
        but=f"it gave {len(flat(got))}: {flat(got)!r:.200}",
        mistake=what_became_of(lines, flat(got)),
        read=READ,
    )
    early = [place for place, chunk in enumerate(chunks) if bool(got[place]) != (chunk == b"\n")]
    student.should(
        not early, should="give each line with its newline, not before and not after", but="one came at another byte"
    )


def test_many_lines_at_once(student):
    """A chunk with many lines gives all of them, and keeps the rest."""
    student.define(HELPERS)
    lines = some_lines(student, 7)
    stream = b"".join(lines)
    cut = len(stream) - student.random.randrange(1, len(lines[-1]) + 1)
    got = student.call("feed_each", 100, [stream[:cut], stream[cut:]], step="feed 6 lines and a part of the 7th").value
    student.should(
        got[0] == lines[:6],
        should="give the 6 whole lines",
        but=f"it gave {len(flat(got[:1]))} of them",
        mistake="one line for each chunk, though many may have come: a recv has no idea of lines",
        read=READ,
    )
    student.step("feed the rest")
    student.should(
        got[1] == lines[6:],
        should="give the 7th line, whole",
        but=f"it gave {got[1]!r:.200}",
        mistake="the begun line thrown away with the finished ones, or cut in two",
        read=READ,
    )


def test_a_line_too_long(student):
    """The byte that makes a line too long raises LineTooLong, which brings the lines before it."""
    student.define(HELPERS)
    limit = student.random.randrange(50, 100)
    short, longest = b"short\n", b"x" * (limit - 1) + b"\n"
    lines, fed = student.call(
        "feed_too_much", limit, [short + longest], step=f"feed a line of {limit}, the limit"
    ).value
    student.should(
        fed is None and lines == [short, longest],
        should=f"give a line of {limit} bytes, newline included: that much is allowed",
        but="it raised LineTooLong" if fed else "it gave something else",
        mistake="a limit that is a byte too small: >= where > is meant, or a newline counted twice",
        read=READ,
    )
    chunks = [short + b"x" * (limit - 3), b"x", b"x", b"x", b"x", b"x" * 300 + b"\n"]
    wanted = len(short) + limit
    lines, fed = student.call("feed_too_much", limit, chunks, step=f"feed a line, then {limit} bytes of another").value
    student.should(
        fed == wanted,
        should=f"raise LineTooLong with byte {limit} of the second line: whatever comes next, it is too long",
        but=f"it raised it with byte {fed - len(short)}" if fed else "it raised nothing",
        mistake="only finished lines measured, so that an endless one fills the memory"
        if fed is None or fed > wanted + 1
        else "a limit that is off by one: the newline counts too",
        read=READ,
    )
    chunk = short + b"y" * limit + b"\nafter\n"
    lines, fed = student.call(
        "feed_too_much", limit, [chunk], step="feed both in one chunk, and a line after them"
    ).value
    student.should(
        fed is not None and lines == [short],
        should="raise LineTooLong([the line before it])",
        but=f"LineTooLong brought {lines!r:.100}" if fed else "it raised nothing",
        mistake="the lines of the same chunk lost, or the one that is too long brought along",
        read=READ,
    )


def test_how_the_client_has_left(student):
    """After FIN an unfinished line is completed, after a reset it is dropped."""
    student.define(HELPERS)
    word = student.random.choice([b"bye", b"so long", b"see you"])
    for begun, how, wanted in (
        (word, "finish", (word + b"\n", b"")),
        (b"", "finish", (b"", b"")),
        (word, "drop", (len(word), b"")),
    ):
        got = student.call(
            "feed_and_leave", 100, [b"hello\n" + begun], how, step=f"feed b'hello\\n' and {begun!r}, {how}(), finish()"
        ).value
        student.should(
            got == wanted,
            should=f"return {wanted[0]!r}, then {wanted[1]!r}",
            but=f"they returned {got[0]!r}, then {got[1]!r}",
            mistake="an empty line made up where nothing was left, last words lost, or kept to be said twice",
            read="How a client leaves",
        )


def test_the_work_grows_with_the_bytes(student):
    """A line of 20 MB in small pieces, and a chunk of many lines, take no more than a moment."""
    student.define(HELPERS)
    pieces, piece = 40_000, bytes(500)
    call = student.call(
        "trickle",
        pieces,
        piece,
        step=f"feed one line in {pieces} pieces of {len(piece)} bytes",
        timeout=MOMENT_SECONDS,
        hangs="all that is kept copied (kept + chunk) or searched for a newline again, with each chunk: quadratic time",
        read=READ,
    )
    student.should(call.value == pieces * len(piece) + 1, should="give the line", but=f"it has {call.value} bytes")
    call = student.call(
        "count_lines",
        b"a" * 199 + b"\n",
        60_000,
        step="feed a chunk of 60000 lines",
        timeout=MOMENT_SECONDS,
        hangs="the rest of the chunk copied for each line in it (rest = rest[end:]): quadratic time",
        read=READ,
    )
    student.should(call.value == 60_000, should="give 60000 lines", but=f"it gave {call.value}")

"""3.6 make a stranger's bytes safe to print: text stays, control sequences become visible, however they are cut."""

import pytest

pytestmark = pytest.mark.exercise("3.6")
READ = "A stranger's bytes on your terminal"
TEXTS = ("grüß dich", "你好，聊天室", "привет", "שלום", "👩‍💻 ok", "a\tb", "naïve café", "x\\y ^ ~")
DIRECTION_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

HELPERS = """
def feed_each(pieces):
    visible = Visible()
    return [visible.feed(piece) for piece in pieces] + [visible.end()]
"""


def fed(student, pieces, words):
    """What each feed gives, and what end gives at last."""
    student.define(HELPERS)
    value = student.call("feed_each", pieces, step=f"feed {words}").value
    student.should(
        all(isinstance(text, str) for text in value),
        should="return str from feed and from end",
        but=f"they returned {', '.join(sorted({type(text).__name__ for text in value}))}",
        read=READ,
    )
    return value


def becomes(student, data, wanted, mistake):
    """Fed in one piece, data must become this text."""
    shown = "".join(fed(student, [data], repr(data)))
    student.should(shown == wanted, should=f"give {wanted!r}", but=f"it gave {shown!r}", mistake=mistake, read=READ)


def test_text_stays(student):
    """Readable text in any language stays as it is, with its newlines and tabs."""
    lines = student.random.sample(TEXTS, 4)
    text = "".join(line + "\n" for line in [*lines, "a\tb"])
    becomes(student, text.encode(), text, "UTF-8 taken apart into bytes, or newline and tab escaped too")


def test_controls_become_visible(student):
    """Control characters, in all their forms, are shown and not obeyed."""
    wrong = "some control characters left as they are: from 0x00 to 0x1F, and 0x7F"
    becomes(student, b"\x1b[2J\x1b]0;title\x07 gone", "^[[2J^[]0;title^G gone", wrong)
    codes = student.random.sample([code for code in (*range(32), 127) if code not in (9, 10)], 6)
    becomes(
        student,
        b"a\rb\x7f\x00" + bytes(codes),
        "a^Mb^?^@" + "".join("^" + chr(code ^ 64) for code in codes),
        f"{wrong}; CR too: it goes back to the line's beginning, and overwrites what was there",
    )
    control = chr(student.random.randrange(0x80, 0xA0))
    becomes(
        student,
        f"a{control}2Jb\u009bc".encode(),
        f"a\\u{ord(control):04x}2Jb\\u009bc",
        "the second range forgotten: U+009B is ESC [ in a single character",
    )
    turner = student.random.choice(DIRECTION_CONTROLS)
    becomes(
        student,
        f"admin{turner}\u202eradmin".encode(),
        f"admin\\u{ord(turner):04x}\\u202eradmin",
        "characters that turn the direction of text left as they are",
    )


def test_cut_anywhere(student):
    """Cut anywhere, the same text comes out, and each piece of it as soon as it is known."""
    texts = student.random.sample([text for text in TEXTS if not text.isascii()], 3)
    data = "".join(texts).encode() + b"\x1b[0m"
    cuts = fed(student, [data[i : i + 1] for i in range(len(data))], f"{data!r}, a byte at a time")
    wanted = "".join(texts) + "^[[0m"
    student.should(
        "".join(cuts) == wanted,
        should=f"give {wanted!r}",
        but=f"it gave {''.join(cuts)!r}",
        mistake="each piece decoded by itself: a character that is cut in two is not two wrong bytes",
        read=READ,
    )
    known = [data[: i + 1].decode("utf-8", "ignore").replace("\x1b", "^[") for i in range(len(data))]
    sofar = ["".join(cuts[: i + 1]) for i in range(len(data))]
    late = next((i for i in range(len(data)) if sofar[i] != known[i]), None)
    student.should(
        late is None,
        should=f"have given {known[late or 0]!r} after {(late or 0) + 1} bytes",
        but=f"it had given {sofar[late or 0]!r}",
        mistake="text kept back until a newline or the end: a prompt has no newline",
        read=READ,
    )


def test_what_is_no_utf_8(student):
    """Bytes that are no UTF-8 are shown one by one, also at the end."""
    becomes(
        student,
        b"a\xff\xfeb\xc3(c\xed\xa0\x80\x9b",
        "a\\xff\\xfeb\\xc3(c\\xed\\xa0\\x80\\x9b",
        "wrong bytes dropped or replaced: they tell who sent what",
    )
    start = student.random.choice(TEXTS[1:2])[0].encode()[:2]
    pieces = fed(student, [b"a" + start], f"{b'a' + start!r}, then end")
    wanted = ["a", "".join(f"\\x{byte:02x}" for byte in start)]
    student.should(
        pieces == wanted,
        should=f"give {wanted[0]!r} at once, and {wanted[1]!r} at the end",
        but=f"it gave {pieces[0]!r}, and {pieces[1]!r}",
        mistake="the first bytes of an unfinished character given out too early, or forgotten at the end",
        read=READ,
    )

"""U+0080 to U+009F are left as they are: U+009B is ESC [ in one character.

check: test_controls_become_visible
says: the second range forgotten
"""


class Visible:
    CARET = {code: "^" + chr(code ^ 64) for code in (*range(0x20), 0x7F) if chr(code) not in "\n\t"}
    ESCAPED = {code: f"\\u{code:04x}" for code in map(ord, DIRECTION_CONTROLS)}

    def __init__(self):
        self.decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def feed(self, data):
        return self.decoder.decode(data).translate(self.CARET | self.ESCAPED)

    def end(self):
        return self.decoder.decode(b"", final=True)

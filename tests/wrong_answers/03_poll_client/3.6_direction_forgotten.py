"""Characters that turn the direction of text are left as they are.

check: test_controls_become_visible
says: characters that turn the direction of text left as they are
"""


class Visible:
    CARET = {code: "^" + chr(code ^ 64) for code in (*range(0x20), 0x7F) if chr(code) not in "\n\t"}
    ESCAPED = {code: f"\\u{code:04x}" for code in range(0x80, 0xA0)}

    def __init__(self):
        self.decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def feed(self, data):
        return self.decoder.decode(data).translate(self.CARET | self.ESCAPED)

    def end(self):
        return self.decoder.decode(b"", final=True)

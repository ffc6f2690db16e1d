"""Bytes that are no UTF-8 become the replacement character.

check: test_what_is_no_utf_8
says: wrong bytes dropped or replaced
"""


class Visible:
    CARET = {code: "^" + chr(code ^ 64) for code in (*range(0x20), 0x7F) if chr(code) not in "\n\t"}
    ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x80, 0xA0), *map(ord, DIRECTION_CONTROLS))}

    def __init__(self):
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data):
        return self.decoder.decode(data).translate(self.CARET | self.ESCAPED)

    def end(self):
        return self.decoder.decode(b"", final=True)

"""Each piece is decoded by itself.

check: test_cut_anywhere
says: each piece decoded by itself
"""


class Visible:
    CARET = {code: "^" + chr(code ^ 64) for code in (*range(0x20), 0x7F) if chr(code) not in "\n\t"}
    ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x80, 0xA0), *map(ord, DIRECTION_CONTROLS))}

    def __init__(self):
        pass

    def feed(self, data):
        return data.decode("utf-8", "backslashreplace").translate(self.CARET | self.ESCAPED)

    def end(self):
        return ""

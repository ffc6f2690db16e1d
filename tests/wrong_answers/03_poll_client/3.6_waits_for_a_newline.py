"""Text is kept back until its line is whole.

check: test_cut_anywhere
says: text kept back until a newline or the end
"""


class Visible:
    CARET = {code: "^" + chr(code ^ 64) for code in (*range(0x20), 0x7F) if chr(code) not in "\n\t"}
    ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x80, 0xA0), *map(ord, DIRECTION_CONTROLS))}

    def __init__(self):
        self.pending = b""

    def feed(self, data):
        whole, newline, self.pending = (self.pending + data).rpartition(b"\n")
        return (whole + newline).decode("utf-8", "backslashreplace").translate(self.CARET | self.ESCAPED)

    def end(self):
        return self.pending.decode("utf-8", "backslashreplace").translate(self.CARET | self.ESCAPED)

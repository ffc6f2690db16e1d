"""Each byte is taken for a character.

check: test_text_stays
says: UTF-8 taken apart into bytes
"""


class Visible:
    def __init__(self):
        pass

    def feed(self, data):
        return "".join(self.show(byte) for byte in data)

    def show(self, byte):
        if byte >= 0x80:
            return f"\\x{byte:02x}"
        return "^" + chr(byte ^ 64) if (byte < 32 and byte not in (9, 10)) or byte == 127 else chr(byte)

    def end(self):
        return ""

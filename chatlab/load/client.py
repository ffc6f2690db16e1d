"""One client of a relay server, step by step: what tests are written with. Standard library only."""

import select
import socket
import struct
import time

from chatlab.launch.program import scale
from chatlab.load.errors import LoadError, describe, reason

RECEIVE_BYTES = 1 << 18
SHOWN_BYTES = 60


class Client:
    """A connected client, in a `with` block.

    address: (host, port). timeout: seconds that each wait may last, scaled by CHATLAB_TIME_SCALE. receive_buffer: bytes
    of SO_RCVBUF, set before the connect (the kernel doubles it), or None. Every method that waits raises LoadError when
    its time is up or the connection has ended otherwise than expected. `received` holds every byte that came so far.
    """

    def __init__(self, address: tuple[str, int], *, timeout: float = 5.0, receive_buffer: int | None = None):
        self.address = address
        self.timeout = timeout * scale()
        self.received = bytearray()
        self.how_ended: str | None = None  # "end of file" or "reset", once it is seen
        self._taken = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(self.timeout)
        try:
            self.socket.connect(address)
        except OSError as error:
            self.socket.close()
            raise LoadError(f"cannot connect to {describe(address)}: {reason(error)}") from error

    # sending

    def send(self, data: bytes) -> None:
        """Send bytes as they are, all of them."""
        try:
            self.socket.sendall(data)
        except TimeoutError as error:
            raise LoadError(f"the server took no more bytes for {self.timeout:g} s") from error
        except OSError as error:
            raise LoadError(f"cannot send: {reason(error)}") from error

    def send_line(self, text: bytes) -> None:
        """Send a line; its newline is added."""
        self.send(text + b"\n")

    def end_input(self) -> None:
        """Send FIN, and go on receiving: shutdown(2), SHUT_WR."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise LoadError(f"cannot end the input: {reason(error)}") from error

    def reset(self) -> None:
        """Close with RST instead of FIN: SO_LINGER of 0 seconds, socket(7)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close the connection, once or often."""
        self.socket.close()

    # receiving

    @property
    def unread(self) -> bytes:
        """What has come and was not read by a method below."""
        return bytes(self.received[self._taken :])

    def read_line(self) -> bytes:
        """The next line, its newline included; what came after the last one, or b"", at end of file."""
        searched = self._taken
        deadline = time.monotonic() + self.timeout
        while (end := self.received.find(b"\n", searched)) < 0:
            searched = len(self.received)
            if not self._receive(deadline, "a line"):
                end = len(self.received) - 1
                break
        return self._take(end + 1)

    def read_lines(self, count: int) -> list[bytes]:
        """The next `count` lines; fewer when end of file comes first."""
        lines = []
        while len(lines) < count and (line := self.read_line()):
            lines.append(line)
        return lines

    def read_until(self, last: bytes) -> list[bytes]:
        """The lines up to and including `last`, whose newline is added where it is missing."""
        last = last if last.endswith(b"\n") else last + b"\n"
        lines = []
        while not lines or lines[-1] != last:
            line = self.read_line()
            if not line:
                raise LoadError(f"end of file came before the line {shown(last)}")
            lines.append(line)
        return lines

    def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes; fewer at end of file."""
        deadline = time.monotonic() + self.timeout
        while len(self.received) - self._taken < count and self._receive(deadline, f"{count} bytes"):
            pass
        return self._take(min(len(self.received), self._taken + count))

    def read_to_end(self) -> bytes:
        """Everything until end of file. A reset raises LoadError."""
        deadline = time.monotonic() + self.timeout
        while self._receive(deadline, "end of file"):
            pass
        return self._take(len(self.received))

    def ended(self) -> str:
        """Wait for the connection's end, and say which: "end of file" or "reset"."""
        deadline = time.monotonic() + self.timeout
        try:
            while self._receive(deadline, "the end of the connection"):
                pass
        except LoadError:
            if self.how_ended is None:
                raise
        return self.how_ended

    def arrived(self) -> bytes:
        """What has come up to this moment, without waiting: for looking whether anything did that should not have."""
        while self.how_ended is None and select.select([self.socket], [], [], 0)[0]:
            try:
                self._receive(time.monotonic() + self.timeout, "what is there")
            except LoadError:
                if self.how_ended is None:
                    raise
        return self.unread

    def put_back(self, data: bytes) -> None:
        """Have `data` read next, before what comes from the socket."""
        self.received += data

    def _receive(self, deadline: float, awaited: str) -> bool:
        """Receive what comes, in one recv; False at end of file."""
        if self.how_ended == "end of file":
            return False
        if self.how_ended == "reset":
            raise LoadError(f"the connection was reset; unread so far: {shown(self.unread)}")
        left = deadline - time.monotonic()
        self.socket.settimeout(max(left, 0.001))
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except TimeoutError as error:
            raise LoadError(f"waited {self.timeout:g} s for {awaited}; unread so far: {shown(self.unread)}") from error
        except ConnectionResetError as error:
            self.how_ended = "reset"
            raise LoadError(f"the connection was reset; unread so far: {shown(self.unread)}") from error
        except OSError as error:
            raise LoadError(f"cannot receive: {reason(error)}") from error
        finally:
            self.socket.settimeout(self.timeout)
        self.received += data
        if not data:
            self.how_ended = "end of file"
        return bool(data)

    def _take(self, end: int) -> bytes:
        data = bytes(self.received[self._taken : end])
        self._taken = end
        return data

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def shown(data: bytes) -> str:
    """Bytes for a complaint: as Python writes them, the middle of long ones left out."""
    if not data:
        return "nothing"
    if len(data) <= SHOWN_BYTES:
        return repr(bytes(data))
    half = SHOWN_BYTES // 2
    return f"{bytes(data[:half])!r} … {bytes(data[-half:])!r} ({len(data)} bytes)"

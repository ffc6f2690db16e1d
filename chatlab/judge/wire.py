"""What passes between the judge and the student's process: plain data and descriptors, never pickles.

A message is a four-byte length and JSON; descriptors travel beside it (SCM_RIGHTS, unix(7)). What JSON lacks is tagged:
{"bytes": base64}, {"tuple": [...]}, {"set": [...]}, {"dict": [[key, value], ...]}, {"socket": index of a descriptor},
{"fd": index}, {"name": of an object there}, {"remote": number of an object there}.

Standard library only: the student's process imports this before it imports the student's code.
"""

import array
import base64
import json
import os
import socket
import struct

CHANNEL_DESCRIPTOR = 250  # in the student's process
LENGTH = struct.Struct("!I")
LARGEST_MESSAGE = 64 * 1024 * 1024
MOST_DESCRIPTORS = 64


class Fd:
    """A descriptor to be passed as a number: the other side gets its own copy under a number of its own."""

    def __init__(self, number: int):
        self.number = number

    def fileno(self) -> int:
        return self.number

    def close(self) -> None:
        """Close this side's copy."""
        os.close(self.number)

    def __repr__(self) -> str:
        return f"descriptor {self.number}"


class Name:
    """An object of the student's process, by its name: a function of the exercises or of `define`d source."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return self.name


class RemoteNumber:
    """An object that stays in the student's process, by its number there."""

    def __init__(self, number: int, text: str = ""):
        self.number = number
        self.text = text


class WireError(Exception):
    """What arrived is not a message of this protocol."""


def encode(value, descriptors: list[int], keep=None):
    """Turn a value into JSON's types. Descriptors found in it are appended to `descriptors`.

    keep: what to do with a value that is not plain data: called with it, returns a RemoteNumber. Without it, TypeError.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, list):
        return [encode(item, descriptors, keep) for item in value]
    if isinstance(value, (tuple, set, frozenset)):
        tag = "tuple" if isinstance(value, tuple) else "set"
        return {tag: [encode(item, descriptors, keep) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(item, descriptors, keep) for item in pair] for pair in value.items()]}
    if isinstance(value, (socket.socket, Fd)):
        descriptors.append(value.fileno())
        return {"socket" if isinstance(value, socket.socket) else "fd": len(descriptors) - 1}
    if isinstance(value, Name):
        return {"name": value.name}
    if isinstance(value, RemoteNumber):
        return {"remote": value.number, "text": value.text}
    if keep is None:
        raise TypeError(f"{type(value).__name__} cannot be passed to the student's process")
    return encode(keep(value), descriptors)


def decode(value, descriptors: list[int], *, fd=Fd, name=Name, remote=RemoteNumber):  # noqa: PLR0911  (one return a tag)
    """Turn `encode`'s result back. fd, name and remote make what stands for those tags. Raises WireError."""
    if not isinstance(value, (dict, list)):
        return value

    def inner(item):
        return decode(item, descriptors, fd=fd, name=name, remote=remote)

    if isinstance(value, list):
        return [inner(item) for item in value]
    try:
        if "bytes" in value:
            return base64.b64decode(value["bytes"])
        if "tuple" in value:
            return tuple(inner(item) for item in value["tuple"])
        if "set" in value:
            return {inner(item) for item in value["set"]}
        if "dict" in value:
            return {inner(key): inner(item) for key, item in value["dict"]}
        if "socket" in value:
            return socket.socket(fileno=descriptors[value["socket"]])
        if "fd" in value:
            return fd(descriptors[value["fd"]])
        if "name" in value:
            return name(value["name"])
        if "remote" in value:
            return remote(value["remote"], value.get("text", ""))
    except (ValueError, TypeError, IndexError, KeyError, OSError) as error:
        raise WireError(f"not a value: {error}") from error
    raise WireError(f"not a value: {sorted(value)}")


class Channel:
    """One end of the stream between judge and student's process."""

    def __init__(self, sock: socket.socket):
        self.sock = sock

    def send(self, message: dict, descriptors: list[int] = ()) -> None:
        """Send one message with its descriptors. Raises OSError when the other side is gone."""
        body = json.dumps(message).encode()
        packet = LENGTH.pack(len(body)) + body
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        sent = self.sock.sendmsg([packet], rights)
        self.sock.sendall(packet[sent:])

    def receive(self) -> tuple[dict, list[int]] | None:
        """The next message and its descriptors (close-on-exec), or None at the end. Raises WireError, OSError."""
        descriptors: list[int] = []
        header = self._exactly(LENGTH.size, descriptors)
        if header is None:
            return None
        (length,) = LENGTH.unpack(header)
        if length > LARGEST_MESSAGE:
            raise WireError(f"a message of {length} bytes")
        body = self._exactly(length, descriptors)
        if body is None:
            return None
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise WireError(f"not JSON: {error}") from error
        if not isinstance(message, dict):
            raise WireError("not an object")
        return message, descriptors

    def _exactly(self, size: int, descriptors: list[int]) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            wanted = min(size - len(parts), 1 << 20)
            data, rights, _, _ = self.sock.recvmsg(wanted, socket.CMSG_SPACE(MOST_DESCRIPTORS * 4))
            for _, kind, packed in rights:
                if kind == socket.SCM_RIGHTS:
                    numbers = array.array("i", packed[: len(packed) - len(packed) % 4])
                    for number in numbers:
                        os.set_inheritable(number, False)
                    descriptors.extend(numbers)
            if not data:
                return None
            parts += data
        return bytes(parts)

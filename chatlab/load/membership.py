"""Who is in the room. Membership begins at the server's accept(2), of which a client is told nothing: connect(2)
returns as soon as the kernel has queued the connection. So a line is sent through the room until everybody has it.
"""

import itertools
import os
import select
import socket
import time
from collections.abc import Sequence

from chatlab.launch.program import scale
from chatlab.load.client import RECEIVE_BYTES, Client, shown
from chatlab.load.errors import LoadError, patience, reason

AGAIN_SECONDS = 0.05  # a probe that came before the accept is lost: another one follows
_numbers = itertools.count(1)


def admit(clients: Sequence[Client]) -> None:
    """Return once each of these clients is known to be in the room, with every probe line read away.

    The first client sends the probes: a relay of its line shows that it is in, too. Raises LoadError, with the notice
    of a server that turns a client away.
    """
    left = admit_sockets([client.socket for client in clients])
    for client, data in zip(clients, left, strict=True):
        client.put_back(data)


def admit_sockets(sockets: Sequence[socket.socket], numbers: Sequence[int] | None = None) -> list[bytes]:
    """`admit` over connected sockets. Returns for each the bytes that came behind the last probe line.

    numbers: what to call the clients in complaints; default: 0, 1, 2, …
    """
    first, *others = sockets
    came = dict.fromkeys(others, b"")
    names = dict(zip(sockets, numbers or range(len(sockets)), strict=True))
    missing = set(others)
    probe = b""
    silence = AGAIN_SECONDS * scale()
    deadline = time.monotonic() + patience()
    with select.epoll() as poller:
        by_descriptor = {other.fileno(): other for other in others}
        for descriptor in by_descriptor:
            poller.register(descriptor, select.EPOLLIN)
        while missing:
            if time.monotonic() > deadline:
                late = sorted(names[other] for other in missing)
                raise LoadError(f"{_name(late)} of {len(sockets)} got no probe line within {patience():g} s")
            ready = poller.poll(silence) if probe else []
            if not ready:
                silence *= 2  # a busy machine answers later: each new probe has everybody wait for that one
                probe = b"probe %d %d\n" % (os.getpid(), next(_numbers))
                _send(first, probe)
                missing = set(others)  # it comes to everybody, and is to be read away everywhere
            for other in (by_descriptor[descriptor] for descriptor, _ in ready):
                came[other] += _receive(other, names[other], came[other])
                if other in missing and probe in came[other]:
                    missing.discard(other)
                    deadline = time.monotonic() + patience()
    return [b"", *(came[other].partition(probe)[2] for other in others)]


def _send(sender: socket.socket, line: bytes) -> None:
    try:
        sender.send(line)  # some 20 bytes into an empty send buffer: never short
    except OSError as error:
        raise LoadError(f"the server ended the first client's connection: {reason(error)}") from error


def _receive(client: socket.socket, number: int, before: bytes) -> bytes:
    try:
        data = client.recv(RECEIVE_BYTES)
    except OSError as error:
        raise LoadError(f"the server ended client {number}'s connection: {reason(error)}") from error
    if not data:
        notice = f", saying {shown(before)}" if before else ""
        raise LoadError(f"the server turned client {number} away{notice}")
    return data


def _name(numbers: list[int]) -> str:
    return f"client {numbers[0]}" if len(numbers) == 1 else f"clients {numbers[0]} … {numbers[-1]} ({len(numbers)})"

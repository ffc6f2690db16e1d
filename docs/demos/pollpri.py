#!/usr/bin/env python3
"""Show POLLPRI: one byte of urgent data on a TCP connection, what poll says of it, and where the byte is.

Two real sockets over loopback, each step printed; it ends by itself. The chat does not use urgent data, so this is
the only place of the course that does. Sources: poll(2), tcp(7) "MSG_OOB" and "SO_OOBINLINE", Stevens UNP 24.
"""

import argparse
import select
import signal
import socket
import sys

PATIENCE_MILLISECONDS = 5000
INPUT_EVENTS = ("POLLIN", "POLLRDNORM", "POLLRDBAND", "POLLPRI", "POLLMSG", "POLLRDHUP")
OUTPUT_EVENTS = ("POLLOUT", "POLLWRNORM", "POLLWRBAND")
ANSWERS = (*INPUT_EVENTS, *OUTPUT_EVENTS, "POLLERR", "POLLHUP", "POLLNVAL")


def connect() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new TCP connection over loopback: the one that will send, the one that will receive."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
    return sender, receiver


def asked_for(names: tuple[str, ...]) -> int:
    """Return the events of these names as one mask."""
    return sum(getattr(select, name) for name in names)


def poll_once(end: socket.socket, names: tuple[str, ...], milliseconds: int = PATIENCE_MILLISECONDS) -> str:
    """Return what one poll of `end` for these events answers, by name; "nothing" when the time is over."""
    poller = select.poll()
    poller.register(end, asked_for(names))
    answer = poller.poll(milliseconds)
    if not answer:
        return "nothing"
    [(_, revents)] = answer
    return " ".join(name for name in ANSWERS if revents & getattr(select, name))


def receive_stream(end: socket.socket) -> list[bytes]:
    """Return what each ordinary recv gives until end of file."""
    pieces = []
    while piece := end.recv(100):
        pieces.append(piece)
    return pieces


def try_to_receive(end: socket.socket, flags: int = 0) -> str:
    """Return what a recv that must not wait gives: the bytes, or the error's name in words."""
    try:
        return repr(end.recv(100, flags | socket.MSG_DONTWAIT))
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror}"


def show_what_poll_says() -> None:
    """Poll a connection before, during and after one urgent byte."""
    sender, receiver = connect()
    with sender, receiver:
        print("1. What poll says of ordinary and of urgent data. It is asked for", *INPUT_EVENTS)
        print("   nothing sent yet             ->", poll_once(receiver, INPUT_EVENTS, 0))
        print("   asked for the output events  ->", poll_once(receiver, OUTPUT_EVENTS))
        sender.sendall(b"abc")
        print("   three ordinary bytes sent    ->", poll_once(receiver, INPUT_EVENTS))
        print("   recv()                       ->", try_to_receive(receiver))
        sender.send(b"!", socket.MSG_OOB)
        print("   one urgent byte (MSG_OOB)    ->", poll_once(receiver, INPUT_EVENTS))
        print("   recv(MSG_OOB)                ->", try_to_receive(receiver, socket.MSG_OOB))
        print("   recv(): not in the stream    ->", try_to_receive(receiver))
        print("   poll again, it has been read ->", poll_once(receiver, INPUT_EVENTS, 0))
        print("   POLLPRI alone: urgent data. Linux uses POLLRDBAND and POLLMSG for nothing here (see poll(2)).")


def show_how_the_byte_is_lost() -> None:
    """Let an ordinary recv pass the urgent mark before anyone has asked for the urgent byte."""
    sender, receiver = connect()
    with sender, receiver:
        sender.send(b"!", socket.MSG_OOB)
        print("   one urgent byte (MSG_OOB)    ->", poll_once(receiver, INPUT_EVENTS))
        print("   recv() first                 ->", try_to_receive(receiver))
        print("   recv(MSG_OOB), too late      ->", try_to_receive(receiver, socket.MSG_OOB))
        print("   The kernel keeps one urgent byte, and only until an ordinary recv has passed its place.")


def show_where_the_byte_is(inline: bool) -> None:
    """Send ordinary bytes around an urgent one and print what the ordinary reads give."""
    sender, receiver = connect()
    with sender, receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)
        sender.sendall(b"before")
        sender.send(b"!", socket.MSG_OOB)
        sender.sendall(b"after")
        sender.shutdown(socket.SHUT_WR)
        poll_once(receiver, ("POLLRDHUP",))  # the end of file has come, and so has all that was sent before it
        if not inline:
            print("   recv(MSG_OOB)      ->", try_to_receive(receiver, socket.MSG_OOB))
        pieces = receive_stream(receiver)
        print("   recv() by recv()   ->", *pieces)
        print("   the stream held    ->", b"".join(pieces))


def main() -> int:
    """Tell the story and return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly, as cat does, when a reader such as head has gone
    argparse.ArgumentParser(
        description="Show POLLPRI: one byte of urgent data (MSG_OOB) over loopback, what poll says, where the byte is."
    ).parse_args()
    show_what_poll_says()
    print("\n2. The same, but an ordinary recv comes first")
    show_how_the_byte_is_lost()
    print('\n3. "before", an urgent "!", "after", then end of file: the urgent byte stays outside of the stream')
    show_where_the_byte_is(inline=False)
    print("   A recv stops at the urgent mark, so that the reader can tell what was sent before it.")
    print("\n4. With SO_OOBINLINE the urgent byte stays in the stream, in its place")
    show_where_the_byte_is(inline=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""3.8 a client of your own: a server in several moods, and what the client sends, prints and leaves behind."""

import os
import pty
import select
import socket
import struct
import tempfile
import time
import tty

import pytest

from chatlab.judge import Fd

pytestmark = pytest.mark.exercise("3.8")
PIECES = "; if 3.4, 3.6 or 3.7 fails too, begin there"
READ = "What poll says"
ENDS = "Half-close"
MOVES = "Splice and short moves"
PATIENCE_SECONDS = 2.0
SMALL_BUFFER = 16384
UNMOVED_LINES = 3
LOOK_SECONDS = 0.02
LONGEST_SHOWN = 100  # bytes

HELPERS = """
import sys

def run_main(port):
    sys.argv = ["exercises.py", "127.0.0.1", str(port)]
    return main()
"""


class Chat:
    """A client of the student's at work, with the judge's server, keyboard and screen around it."""

    def __init__(self, student, keyboard=None, screen=None, function="run_client"):
        self.student = student
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        reading, self.keyboard = os.pipe()
        mine, theirs = socket.socketpair()
        self.screen = mine.fileno() if screen is None else screen[0]
        self.kept = (mine, theirs)
        port = self.listener.getsockname()[1]
        if function == "run_main":
            student.define(HELPERS)
            self.pending = student.start("run_main", port, step=f"python exercises.py 127.0.0.1 {port} < /dev/null")
        else:
            source, target = keyboard or reading, theirs.fileno() if screen is None else screen[1]
            self.pending = student.start("run_client", "127.0.0.1", port, Fd(source), Fd(target))
        os.close(reading)
        self.server = self.accepted()

    def accepted(self):
        """The server's end of the connection."""
        self.wait(self.listener, "connect to the server", "no connection is made", read="Connecting without waiting")
        return self.listener.accept()[0]

    def wait(self, descriptor, should, mistake, read):
        """Wait until a descriptor of the judge's can be read. The client's end, or patience's, fails the check."""
        deadline = time.monotonic() + PATIENCE_SECONDS * self.student.scale
        while not select.select([descriptor], [], [], LOOK_SECONDS)[0]:
            if self.pending.done and not select.select([descriptor], [], [], 0)[0]:
                call = self.pending.result(raises=True)
                self.fail(should, f"it raised {call.exception}" if call.exception else "it returned", mistake, read)
            if time.monotonic() > deadline:
                self.fail(should, f"nothing comes: {self.student.audit().describe()}", mistake, read)

    def fail(self, should, but, mistake, read):
        """Fail the check; the mistake may also be in one of the pieces."""
        self.student.should(False, should=should, but=but, mistake=mistake + PIECES, read=read)

    def gets(self, descriptor, expected, should, mistake, read=READ):
        """What comes next to the screen or to the server must be this."""
        got, end = bytearray(), ""
        while len(got) < len(expected) and not end:
            self.wait(descriptor, should, mistake, read)
            try:
                data = os.read(descriptor, len(expected) - len(got))
            except OSError as error:
                data, end = b"", f", then {error.strerror}"
            end = end or ("" if data else ", then end of file")
            got += data
        if got != expected:
            came = repr(bytes(got)) if len(got) <= LONGEST_SHOWN else f"{len(got)} bytes, not the right ones,"
            self.fail(should, f"{came} came{end}", mistake, read)

    def type(self, line):
        """Type a line on the keyboard."""
        self.student.step(f"type {line!r}")
        os.write(self.keyboard, line)

    def says(self, words, then=""):
        """The server says something."""
        self.student.step(f"the server says {words!r}{then}")
        self.server.sendall(words)

    def sleeps(self, mistake, read=READ):
        """The client must sleep when nothing happens."""
        self.student.sleeps(should="sleep in poll while nothing happens", mistake=mistake + PIECES, read=read)

    def ends(self, raised=None):
        """The client's end: it must return None, or raise the exception of this name, and leave nothing behind."""
        call = self.pending.result(raises=True, hangs=f"the server's end not looked at{PIECES}", read=ENDS)
        kind = call.exception.type if call.exception else None
        if kind != raised:
            self.fail(
                f"raise {raised}" if raised else "return when the server has ended",
                f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
                "an error swallowed" if raised else "a normal end taken for an error",
                ENDS,
            )
        if call.audit.opened or call.audit.closed or call.unclosed:
            opened, closed = call.audit.opened.values(), call.audit.closed.values()
            self.fail(
                "leave open what it was given, and nothing else",
                f"left open: {', '.join(opened) or 'none'}; closed: {', '.join(closed) or 'none'}",
                "a socket or pipe not closed, or a descriptor closed that is the caller's",
                ENDS,
            )
        return call

    def line(self):
        """A line that nobody can guess."""
        return b"line %d\n" % self.student.random.randrange(10**6)


def test_a_conversation(student):
    """Lines go both ways, untouched, and the last words are printed while the keyboard is still open."""
    chat = Chat(student)
    for _ in range(2):
        line = chat.line()
        chat.type(line)
        chat.gets(chat.server.fileno(), line, "send the line to the server", "typed lines kept back")
        bytes_ = b"\x1b[31m\x00\xff" + chat.line()
        chat.says(bytes_)
        chat.gets(
            chat.screen,
            bytes_,
            "print every byte as it came: this is no terminal",
            "lines kept back, or bytes changed where nobody can be fooled by them",
            read="A stranger's bytes on your terminal",
        )
    chat.sleeps("a loop without poll, or POLLOUT polled with nothing to send")
    words = b"last words\n" * student.random.randrange(6000, 8000)
    student.step(f"the server says {len(words)} bytes of last words, and closes; the keyboard stays open")
    with student.frozen():  # so the last of the words and the FIN come together
        chat.server.sendall(words)
        chat.server.close()
    chat.gets(chat.screen, words, "print all last words", "leaving at RDHUP or HUP with words still unread")
    chat.ends()


def test_the_input_ends(student):
    """The end of standard input is told, and printing goes on until the server ends."""
    chat = Chat(student)
    line = chat.line()
    chat.type(line)
    student.step("the keyboard is closed")
    os.close(chat.keyboard)
    chat.gets(chat.server.fileno(), line, "send the line to the server", "a line lost at the end of input", read=ENDS)
    end_is_told(chat)
    chat.sleeps("standard input polled after its end: HUP comes back at once, for ever")
    answer = chat.line()
    chat.says(answer, " and closes")
    chat.server.close()
    chat.gets(chat.screen, answer, "print what comes after the half-close", "leaving at the end of input", read=ENDS)
    chat.ends()


def end_is_told(chat):
    """The server must see end of file now."""
    should = "let the server see end of file at the end of input"
    chat.wait(chat.server, should, "no half-close: the server waits for more", read=ENDS)
    data = chat.server.recv(100)
    if data:
        chat.fail(should, f"it received {data!r}", "bytes that nobody typed", read=ENDS)


def test_a_server_that_does_not_read(student):
    """Printing goes on while the server reads nothing, and then everything arrives."""
    data = student.random.randbytes(1 << 20) * 8 + b"end"
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        student.step(f"standard input is a file of {len(data)} bytes, and the server does not read")
        chat = Chat(student, keyboard=file.fileno())
        student.step("the server says one line after the other, until nothing more goes out of the file")
        unmoved, place = 0, -1
        while unmoved < UNMOVED_LINES:
            words = chat.line()
            chat.server.sendall(words)
            chat.gets(
                chat.screen,
                words,
                "print while nothing can be sent",
                "a splice that waits, and printing too",
                read=MOVES,
            )
            before, place = place, os.lseek(file.fileno(), 0, os.SEEK_CUR)
            unmoved = unmoved + 1 if place == before else 0
        chat.sleeps("trying again and again to send what nobody takes")
        student.step("the server reads everything")
        chat.gets(
            chat.server.fileno(), data, "send the whole file, in order", "what a short move has left lost", read=MOVES
        )
        end_is_told(chat)
        chat.server.close()
        chat.ends()


def test_on_a_terminal(student):
    """On a terminal a stranger's control sequences are made visible, and UTF-8 stays readable, cut or not."""
    read = "A stranger's bytes on your terminal"
    master, slave = pty.openpty()
    tty.setraw(slave)
    chat = Chat(student, screen=(master, slave))
    chat.says(b"\x1b[2Jgr\xc3")
    chat.gets(master, b"^[[2Jgr", "print it with ESC made visible", "a stranger's bytes printed as they are", read=read)
    chat.says(b"\xbc\xc3\x9f\n")
    chat.gets(
        master, "üß\n".encode(), "print a character that was cut in two", "a new Visible for each piece", read=read
    )
    chat.says(b"bye\xe4", " and closes")
    chat.server.close()
    chat.gets(master, b"bye\\xe4", "print what is left at the end", "Visible's end() not called", read=read)
    chat.ends()


def test_a_reset(student):
    """A reset is an error, after what had come before it is printed; so is a server that is not there."""
    chat = Chat(student)
    greeting, words = chat.line(), chat.line()
    chat.says(greeting)
    chat.gets(chat.screen, greeting, "print what the server says", "lines kept back")
    chat.says(words, " and resets the connection")
    chat.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close resets: socket(7)
    chat.server.close()
    chat.gets(chat.screen, words, "print what came before the reset", "leaving at ERR or HUP with words still unread")
    chat.ends(raised="ConnectionResetError")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, and not listening: it refuses
        call = student.call("run_client", *nobody.getsockname(), Fd(chat.screen), Fd(chat.screen), raises=True)
    student.should(
        call.exception is not None and call.exception.type == "ConnectionRefusedError",
        should="raise ConnectionRefusedError",
        but=f"it raised {call.exception}" if call.exception else f"it returned {call.value!r}",
        mistake=f"an error swallowed{PIECES}",
        read="Connecting without waiting",
    )


def test_as_a_program(student):
    """As a program, with /dev/null as its input, it prints what the server says and leaves with status 0."""
    chat = Chat(student, function="run_main")
    end_is_told(chat)
    words = chat.line()
    chat.says(words, " and closes")
    chat.server.close()
    call = chat.pending.result(raises=True, hangs=f"the server's end not looked at{PIECES}", read=ENDS)
    if (call.value, call.output) != (0, words):
        chat.fail(
            f"print {words!r} and return 0",
            f"it printed {call.output!r} and returned {call.value!r}; on standard error: {call.errors.decode()!r}",
            "words of the client's own on standard output: what is printed there is the server's"
            if words in call.output
            else "/dev/null cannot be spliced (EINVAL), and is at its end at once",
            read="When splice cannot",
        )

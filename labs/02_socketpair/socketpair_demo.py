"""socketpair(): two connected sockets without a name, each both readable and writable.

Each part tells one chapter and runs alone too (--part NAME). The small steps are methods, so that pitfalls.py can
replace one of them and leave the rest as it is. Nothing here sleeps: where two processes take turns, the pair itself
tells them when. Sources: socketpair(2), unix(7), recv(2); Kerrisk, The Linux Programming Interface, 57.5 and 61.13.3.
"""

import argparse
import array
import errno
import fcntl
import os
import select
import signal
import socket
import sys

BULK_BYTES = 1 << 20  # more than the buffers of a pair hold
CHILDREN = set()  # pids of children that are not yet reaped


def say(line):
    """Print a line at once: a line still buffered at a fork would be printed by both processes."""
    print(line, flush=True)


def start(task, *args):
    """Fork a child that runs task(*args) and leaves by os._exit, status 0, or 1 for an OSError. Returns its pid."""
    pid = os.fork()
    if pid:
        CHILDREN.add(pid)
        return pid
    status = 1
    try:
        task(*args)
        status = 0
    except OSError as error:
        say(f"   child: {error}")
    finally:
        os._exit(status)


def reap(pid):
    """Wait for a child: its exit status, or minus the signal's number."""
    status = os.waitpid(pid, 0)[1]
    CHILDREN.discard(pid)
    return os.waitstatus_to_exitcode(status)


def end_children():
    """End the children that would wait for ever once this process has gone: they hold copies of both ends."""
    for pid in CHILDREN:
        os.kill(pid, signal.SIGKILL)


def run_program(main, *arguments):
    """Run a program, and end it with status 1 when standard output takes nothing more: write(2), section ERRORS.

    A reader that has gone (EPIPE) needs no words; anything else, such as a full disk, is told in one line.
    """
    if sys.stdout is None:
        sys.exit(f"{os.path.basename(sys.argv[0])}: standard output is closed")
    try:
        try:
            main(*arguments)
        finally:
            sys.stdout.flush()  # the interpreter would do it after the last `except`
    except OSError as error:
        end_children()
        if error.errno != errno.EPIPE:
            os.write(2, f"{os.path.basename(sys.argv[0])}: cannot go on: {error.strerror}\n".encode())
        os._exit(1)  # an ordinary exit would flush again, and fail again


def meet(end):
    """Neither process goes on before the other is here too: a byte each way, on one pair, at the same time."""
    end.send(b".")
    end.recv(1)


def poll_now(end):
    """What poll(timeout 0) says of a socket, without waiting."""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return "POLLIN" if poll.poll(0) else "nothing"


def recv_now(end, flags=socket.MSG_DONTWAIT):
    """What recv gives, in words, when it must not wait."""
    try:
        return repr(end.recv(4096, flags))
    except BlockingIOError as error:
        return f"{errno.errorcode[error.errno]} ({error.strerror})"


def nonblocking(end):
    """Whether O_NONBLOCK is set, straight from the kernel: Python's own sock.getblocking() only remembers."""
    return bool(fcntl.fcntl(end, fcntl.F_GETFL) & os.O_NONBLOCK)


class SocketpairDemo:
    """The story, a method for each part."""

    def pair(self, kind=socket.SOCK_STREAM):
        """A new pair, whose numbers held() looks for: after a fork they are the same in both processes."""
        ends = socket.socketpair(socket.AF_UNIX, kind)
        self.numbers = [end.fileno() for end in ends]
        return ends

    def held(self, pid):
        """Which of the pair's descriptors a process holds, from /proc/PID/fd."""
        links = {number: f"/proc/{pid}/fd/{number}" for number in self.numbers}
        return ", ".join(f"{number} -> {os.readlink(link)}" for number, link in links.items() if os.path.islink(link))

    def show_holders(self, when, child):
        say(f"   {when}, the parent holds {self.held(os.getpid())}")
        say(f"   {when}, the child holds  {self.held(child)}")

    def duplex(self):
        """one pair, one process, both directions at once"""
        a, b = self.pair()
        say(f"   socketpair() gave two descriptors: {self.held('self')}")
        a.send(b"ping")
        b.send(b"pong")
        say(f"   fd {a.fileno()} sent b'ping', fd {b.fileno()} sent b'pong', and nobody has read yet")
        say(f"   fd {b.fileno()} receives {b.recv(64)}, fd {a.fileno()} receives {a.recv(64)}: one pair, both ways")

    def own_end(self):
        """what was written to one end is read from the other"""
        a, b = self.pair()
        a.send(b"hello")
        say(f"   fd {a.fileno()} sent b'hello'. poll: fd {a.fileno()} {poll_now(a)}, fd {b.fileno()} {poll_now(b)}")
        say(f"   recv on fd {a.fileno()} with MSG_DONTWAIT: {recv_now(a)}; without that flag it would wait for ever")
        say(f"   recv on fd {b.fileno()} with MSG_DONTWAIT: {recv_now(b)}")

    def fork(self):
        """parent and child, each closing the other's end"""
        ours, theirs = self.pair()
        child = start(self.child, ours, theirs)
        self.show_holders("after fork", child)
        meet(ours)
        self.close_other_end(theirs)
        meet(ours)
        self.show_holders("after each closed one", child)
        self.ask(ours)
        say("   parent: end of file, since the child has left and nobody else holds its end")
        say(f"   parent: child reaped, exit status {reap(child)}")

    def child(self, ours, theirs):
        meet(theirs)
        ours.close()
        meet(theirs)
        self.answer(theirs)

    def close_other_end(self, other):
        """The child's end has its own copy in the child; ours would keep it open after the child's death."""
        other.close()

    def ask(self, end):
        say(f"   parent: fd {end.fileno()} sends b'what is 6 x 7?\\n'")
        end.send(b"what is 6 x 7?\n")
        for answer in self.lines(end):
            say(f"   parent: fd {end.fileno()}, the same one, receives {answer}")

    def answer(self, end):
        question = next(self.lines(end))
        say(f"   child:  fd {end.fileno()} receives {question} and sends b'42\\n' back")
        end.send(b"42\n")

    def lines(self, end):
        """Each whole line until end of file: the newline makes it a message, since a stream has none."""
        pending = b""
        while data := end.recv(4096):
            *whole, pending = (pending + data).split(b"\n")
            yield from whole

    def end_of_file(self):
        """end of file comes when the last copy of the other end is closed"""
        ours, theirs = self.pair()
        child = start(theirs.send, b"goodbye")
        say(f"   the child said its last words and left: reaped, exit status {reap(child)}")
        say(f"   the parent kept a copy of the child's end: {self.held('self')}")
        say(f"   recv on fd {ours.fileno()}: {recv_now(ours)}")
        say(f"   recv on fd {ours.fileno()}: {recv_now(ours)}: the child is gone, and yet no end of file")
        say(f"   now the parent closes fd {theirs.fileno()}, the last copy")
        theirs.close()
        say(f"   recv on fd {ours.fileno()}: {recv_now(ours)}: end of file")

    def messages(self):
        """a stream keeps the order of bytes, seqpacket keeps messages too"""
        a, b = self.pair()
        for piece in (b"one\n", b"two\n", b"th", b"ree\n"):
            a.send(piece)
        a.close()
        say(f"   stream: 4 sends; one recv would give {b.recv(4096, socket.MSG_PEEK)}")
        say(f"   stream, cut into messages: {list(self.lines(b))}")
        a, b = self.pair(socket.SOCK_SEQPACKET)
        for message in (b"one", b"two", b"three", b""):
            a.send(message)
        say(f"   seqpacket: 4 sends, 4 recvs: {b.recv(4096)} {b.recv(4096)} {b.recv(4)} {b.recv(4096)}")
        say("   the third was read with recv(4): the rest of that message is lost; the fourth looks like end of file")

    def buffers(self):
        """a send takes what the buffers hold; the rest waits"""
        a, b = self.pair()
        with a, b:
            taken = a.send(bytes(BULK_BYTES), socket.MSG_DONTWAIT)
            say(f"   of {BULK_BYTES} bytes in one send with MSG_DONTWAIT the kernel took {taken}")
        ours, theirs = self.pair()
        child = start(self.swap_in_child, ours, theirs)
        theirs.close()
        say(f"   parent: sends {BULK_BYTES} bytes, while the child reads them; then it is the child's turn")
        ours.sendall(bytes(BULK_BYTES))
        ours.shutdown(socket.SHUT_WR)
        say(f"   parent: received {self.count(ours)} bytes; child reaped, exit status {reap(child)}")

    def swap_in_child(self, ours, theirs):
        ours.close()
        received = self.count(theirs)
        theirs.sendall(bytes(received))

    def count(self, end):
        """How many bytes come before end of file."""
        return sum(len(data) for data in iter(lambda: end.recv(1 << 16), b""))

    def flags(self):
        """O_NONBLOCK belongs to the open file description, and whoever holds a copy shares it"""
        ours, theirs = self.pair()
        say(f"   parent: O_NONBLOCK is {nonblocking(ours)} on fd {ours.fileno()}")
        child = start(os.set_blocking, ours.fileno(), False)
        say(f"   the child set it on its own copy of fd {ours.fileno()} and left, exit status {reap(child)}")
        say(f"   parent: {nonblocking(ours)} here too; on the other end, fd {theirs.fileno()}: {nonblocking(theirs)}")
        say(f"   parent: a plain recv on fd {ours.fileno()} gives {recv_now(ours, 0)}, without waiting")

    def hand_over(self):
        """a descriptor sent to another process (SCM_RIGHTS)"""
        ours, theirs = self.pair()
        child = start(self.read_what_comes, ours, theirs)
        reader, writer = os.pipe()  # made after the fork: the child has no copy
        os.write(writer, b"from a pipe that only the parent opened")
        say(f"   parent: sends fd {reader}, {os.readlink(f'/proc/self/fd/{reader}')}, and one byte to carry it")
        ours.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [reader]))])
        os.close(reader)  # on its way, or arrived: it stays open until the receiver's copy is closed too
        os.close(writer)
        say(f"   parent: child reaped, exit status {reap(child)}")

    def read_what_comes(self, ours, theirs):
        ours.close()
        _, ancillary, _, _ = theirs.recvmsg(1, socket.CMSG_LEN(array.array("i").itemsize))
        (reader,) = array.array("i", ancillary[0][2])
        say(f"   child:  receives fd {reader}, {os.readlink(f'/proc/self/fd/{reader}')}: another number, the same pipe")
        say(f"   child:  reads {os.read(reader, 64)}")


PARTS = ("duplex", "own_end", "fork", "end_of_file", "messages", "buffers", "flags", "hand_over")


def main():
    parser = argparse.ArgumentParser(description="Shows what a socketpair does, part by part.")
    parts = [part.replace("_", "-") for part in PARTS]
    parser.add_argument("--part", choices=parts, metavar="NAME", help=f"one part alone: {', '.join(parts)}")
    chosen = parser.parse_args().part
    for number, name in enumerate(parts, 1):
        if chosen in (None, name):
            part = getattr(SocketpairDemo(), PARTS[number - 1])
            say(f"{number}. {name}: {part.__doc__}")
            part()


if __name__ == "__main__":
    run_program(main)

"""5.8 close in the child what is not its own: the child's descriptors from outside, and the parent's epoll after it."""

import json
import socket

import pytest

pytestmark = pytest.mark.exercise("5.8")
READ = "What a child inherits"

HELPERS = """
import fcntl, json, os, resource, select, socket

def stub(words):
    raise NotImplementedError(words)

class Parent:
    def __init__(self, listener, client, high, limit):
        self.client, self.poller = client, select.epoll()
        pairs = [socket.socketpair() for _ in range(4)]
        self.bells, self.ends = [mine for mine, _ in pairs], [its for _, its in pairs]
        self.bells[0].close()
        self.ends[0].close()
        for sock in (listener, *self.bells[1:]):
            self.poller.register(sock, select.EPOLLIN)
        self.names = {listener.fileno(): "the listener", self.bells[2].fileno(): "the sibling's bell"}
        self.connections = [listener, *self.bells, self.ends[1], client]
        self.strays = [*os.pipe(), os.open("/dev/null", os.O_RDONLY), fcntl.fcntl(0, fcntl.F_DUPFD, high)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    def sibling(self):
        return self.ends[2]

    def fork(self):
        self.ends[2].close()
        keep = [self.client, self.ends[1]]
        numbers = [sock.fileno() for sock in keep]
        pid = os.fork()
        if pid == 0:
            try:
                self.child(keep, numbers)
            finally:
                os._exit(0)
        return [pid, *numbers]

    def child(self, keep, numbers):
        said = []
        try:
            become_child(self.poller, self.connections, keep)
            others = [sock for sock in self.connections if sock not in keep]
            if not self.poller.closed:
                said.append("poller.closed is False")
            said += [f"a connection says fileno() {sock.fileno()}" for sock in others if sock.fileno() != -1]
            if [sock.fileno() for sock in keep] != numbers:
                said.append("a socket of keep is closed")
        except BaseException as error:
            said = [f"{type(error).__name__}: {error}"]
        os.write(numbers[0], json.dumps(said).encode() + b"\\n")
        os.read(numbers[0], 1)

    def close_siblings_bell(self):
        self.bells[2].close()

    def ready(self, seconds):
        return sorted(self.names.get(fd, "a doorbell") for fd, _ in self.poller.poll(seconds))
"""


class Family:
    """A parent with an epoll, a listener, doorbells and stray descriptors, and a child of it after become_child."""

    def __init__(self, student):
        self.student = student
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.client, theirs = socket.socketpair()
        self.client.settimeout(3 * student.scale)
        high = student.random.randrange(300, 900)
        limit = student.random.randrange(100, 200)
        student.define(HELPERS)
        step = (
            "a parent with a listener, an epoll, doorbells to this child and two siblings, a pipe, an open file and"
            f" descriptor {high}; its limit is {limit} by now"
        )
        self.parent = student.call("Parent", self.listener, theirs, high, limit, step=step).value
        self.sibling = self.parent.call("sibling", step="the sibling's end of its doorbell is the judge's").value
        step = "fork; in the child, become_child(poller, connections, [its client, its doorbell])"
        self.child, *self.numbers = self.parent.call("fork", step=step).value
        theirs.close()
        self.said = self._report()

    def _report(self):
        """What the child says when it is back from become_child: a list of what is not as it should be."""
        try:
            with self.client.makefile("rb") as lines:
                line = lines.readline()
        except OSError:
            line = b""
        self.student.should(
            line,
            should="return, with the child's client still open",
            but="the child's client has heard nothing from it",
            mistake="a close of what is to be kept",
            read=READ,
        )
        said = json.loads(line)
        error = next((words for words in said if "Error:" in words), "")
        if error.startswith("NotImplementedError"):
            self.student.call("stub", error.partition(": ")[2], step="in the child")
        self.student.should(
            not error,
            should="return",
            but=f"it raised {error}",
            mistake="a connection that is closed already, or a descriptor by which another list was read",
            read=READ,
        )
        return said


def test_only_its_own_is_left(student):
    """The child has its client, its doorbell and the standard streams, and nothing else."""
    family = Family(student)
    descriptors = student.audit().processes[family.child].descriptors
    left = {number: text for number, text in descriptors.items() if number not in {0, 1, 2, *family.numbers}}
    named = ", ".join(f"{number} ({text})" for number, text in sorted(left.items()))
    student.should(
        not left,
        should="close every other descriptor",
        but=f"the child still has {named}",
        mistake="only those closed that you have an object for, or numbers only up to some limit: whatever is open, and"
        " nobody closes, is inherited",
        read=READ,
    )
    missing = {0, 1, 2, *family.numbers} - descriptors.keys()
    student.should(
        not missing,
        should="keep 0, 1 and 2, and those of keep",
        but=f"descriptor {', '.join(map(str, sorted(missing)))} is closed",
        mistake="all closed, the standard streams too: the next open gets number 0, 1 or 2, and the log goes there",
        read=READ,
    )


def test_objects_are_closed_as_objects(student):
    """poller and the connections know that they are closed."""
    family = Family(student)
    student.should(
        not family.said,
        should="close poller and the connections by their close()",
        but=f"in the child {'; '.join(family.said[:3])}",
        mistake="numbers closed under their objects: an object that goes later closes its number once more, and with it"
        " whatever was opened under that number meanwhile",
        read=READ,
    )


def test_the_parents_epoll_goes_on(student):
    """The parent's epoll still tells of its listener and its doorbells."""
    family = Family(student)
    quiet = family.parent.call("ready", 0, step="the parent looks at its epoll: nothing has happened").value
    student.should(
        not quiet,
        should="leave the parent's connections as they are",
        but=f"its epoll tells of {', '.join(quiet)}",
        mistake="shutdown, which ends a connection for all who hold it: close ends one process's hold",
        read=READ,
    )
    student.step("somebody connects, and the sibling rings")
    with socket.create_connection(family.listener.getsockname()):
        family.sibling.send(b".")
        seconds = 1 + student.scale
        told = family.parent.call("ready", seconds, step="the parent looks at its epoll").value
    student.should(
        told == ["the listener", "the sibling's bell"],
        should="let the parent's epoll tell of the listener and the sibling's bell",
        but=f"it tells of {', '.join(told) or 'nothing'}",
        mistake="unregister in the child: the set of what is watched belongs to the epoll, and both have a descriptor"
        " of the same one",
        read=READ,
    )


def test_a_sibling_sees_the_end(student):
    """When the parent closes a sibling's doorbell the sibling sees it."""
    family = Family(student)
    family.parent.call("close_siblings_bell", step="the parent closes its end of the sibling's doorbell")
    family.sibling.settimeout(student.scale)
    try:
        end = family.sibling.recv(1)
    except TimeoutError:
        end = None
    student.should(
        end == b"",
        should="let the sibling see end of file",
        but="it sees nothing: its doorbell is still held by the child that was forked last",
        mistake="the doorbells to the siblings left open: then no child sees that its parent has gone, either",
        read=READ,
    )

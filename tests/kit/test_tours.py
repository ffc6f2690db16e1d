"""The tours: each ends by itself, without a terminal, in seconds, and shows what its captions say."""

import re
import resource
import shlex
from pathlib import Path

import pytest

from chatlab import course, tours
from chatlab.tours import WITHOUT_STRACE, Run, lab_01, table
from chatlab.trace import Descriptor, Process, Trace
from tests.kit.command import chatlab, path_without

ROOT = Path(__file__).resolve().parents[2]
# Of the processor: on a busy machine the clock on the wall says little.
TOUR_SECONDS = 5.0
COURSE = course.load(ROOT)
BUILT = [lab.number for lab in COURSE.labs if COURSE.exercises_of(lab.number)]
ROW = re.compile(r"(parent|child) (\d+) +(\d+)  (\S.*?)  +(\w[\w-]*) +([\d.]+) +([\d.]+|-)")


def processor_seconds() -> float:
    """What the children of this process have used, and theirs, as far as they were reaped: getrusage(2)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rows(output: str) -> list[tuple[str, ...]]:
    return ROW.findall(output)


def test_every_built_lab_has_a_tour_and_no_other_has():
    assert [lab.number for lab in COURSE.labs if tours.find(lab.number)] == BUILT


@pytest.mark.parametrize("number", BUILT)
def test_tour_tells_its_story_by_itself(number):
    began = processor_seconds()
    done = chatlab("lab", str(number), cwd=ROOT)
    assert processor_seconds() - began < TOUR_SECONDS
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    place = 0
    for step in tours.find(number):
        place = done.stdout.index(step.caption, place)
    after = tours.find(number)[-1].after
    assert after in done.stdout
    assert done.stdout.endswith(f"then: make notebook, and make check-{number} for your own answers.\n")
    assert COURSE.lab(number).handout in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("number", BUILT)
def test_commands_of_a_tour_are_what_a_student_can_type(number):
    for step in tours.find(number):
        if isinstance(step, Run):
            python, program, *_ = shlex.split(step.command)
            assert python == "python" and (ROOT / program).is_file()


@pytest.mark.parametrize("number", BUILT)
def test_tour_without_strace_says_so_once_and_goes_on(number, tmp_path):
    done = chatlab("lab", str(number), cwd=ROOT, PATH=path_without(tmp_path / "bin", "strace"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(WITHOUT_STRACE) == 1
    assert "make notebook" in done.stdout.splitlines()[-1]


def test_two_clients_of_the_fork_server_as_the_kernel_saw_them():
    scene = lab_01.two_clients()
    found = rows("\n".join(table.descriptors(scene.trace, ("tcp", "listener"))))
    names = {row[3] for row in found if row[3].startswith("tcp")}
    assert len(names) == 2, "two connections, each with its own client"
    for name in names:
        holders = [row[0] for row in found if row[3] == name]
        assert holders == ["parent", "child"] or not scene.trace.exact
    assert len({row[1] for row in found if row[0] == "child"}) == 2
    if scene.trace.exact:
        for name in names:
            parent, child = (float(row[6]) for row in found if row[3] == name)
            assert parent < child, "the parent closes first, and the connection lives on in the child"


def test_table_of_descriptors():
    trace = Trace(
        processes=[
            Process(100, None, 0.0, None, None, None, "python server.py"),
            Process(101, 100, 1.2, None, None, None, "python server.py"),
        ],
        descriptors=[
            Descriptor(100, 3, "listener", "listener 127.0.0.1:9999", 1.0, None, "open"),
            Descriptor(100, 4, "tcp", "tcp 127.0.0.1:9999 ← :51234", 1.1, 1.25, "open"),
            Descriptor(101, 4, "tcp", "tcp 127.0.0.1:9999 ← :51234", 1.2, 11.5, "fork"),
            Descriptor(100, 5, "file", "file /etc/hosts", 1.0, 1.0, "open"),
        ],
    )
    assert table.descriptors(trace, ("tcp", "listener")) == [
        "process     fd  names                        came by  opened ms  closed ms",
        "parent 100   3  listener 127.0.0.1:9999      open           0.0          -",
        "parent 100   4  tcp 127.0.0.1:9999 ← :51234  open         100.0      250.0",
        "child 101    4  tcp 127.0.0.1:9999 ← :51234  fork         200.0    10500.0",
    ]
    assert table.descriptors(trace, ("epoll",)) == []

"""`why`: the kept trace of a failed check beside the reference's."""

import json

import pytest
from matplotlib.figure import Figure

from chatlab.judge import run
from chatlab.trace import Call, Descriptor, Process, Trace
from chatlab.why import WhyError, _descriptors, _Side, _told_apart, kept_folder, picture, why
from tests.kit import mini_course

CHECKS = '''
def test_end(student):
    """The client sees end of file."""
    ours, theirs = socket.socketpair()
    student.call("work", theirs)
    theirs.close()
    student.receives(ours, b"done")
    student.receives_end(ours, mistake="a kept copy")
'''
WRONG = """
import os, time

def work(sock):
    pid = os.fork()
    if pid == 0:
        sock.sendall(b"done")
        os.read(sock.fileno(), 1)
        os._exit(0)
"""
RIGHT = """
import os

def work(sock):
    pid = os.fork()
    if pid == 0:
        sock.sendall(b"done")
        os._exit(0)
    sock.close()
    os.waitpid(pid, 0)
"""


@pytest.fixture
def course(tmp_path):
    """A course with a failed check, its trace kept, and a solution."""
    mini_course.make(tmp_path, CHECKS, code=WRONG, deadline=1.5)
    solution = tmp_path / "solutions" / "01_mini" / "exercises.py"
    solution.parent.mkdir(parents=True)
    solution.write_text(RIGHT)
    (verdict,) = run("labs", ["1.1"], root=tmp_path, keep_traces=kept_folder(tmp_path), warm=True)
    assert verdict.verdict == "failed"
    return tmp_path


def titles(figure) -> list[str]:
    return [place.get_title(loc="left") for place in figure.axes]


def places(figure, what: str) -> list:
    """The figure's Axes of one row: the student's, then the reference's."""
    return [place for place in figure.axes if place.get_title(loc="left").endswith(what)]


def test_both_sides_are_drawn(course):
    figure = why("1.1", root=course)
    assert figure.get_suptitle() == "1.1: the client sees end of file"
    assert titles(figure) == [
        "your code: messages",
        "the reference: messages",
        "your code: processes",
        "the reference: processes",
        "your code: descriptors",
        "the reference: descriptors",
    ]
    assert picture("1.1", course).read_bytes().startswith(b"\x89PNG")


def test_what_is_drawn_is_what_went_wrong(course):
    """The student's process still holds its copy at the end, and the reference closed it."""
    wrong, right = (place.chatlab_rows for place in places(why("1.1", root=course), "descriptors"))
    first = min(row["pid"] for row in wrong)

    def left(rows):
        return [row for row in rows if row["pid"] == first and row["fd"] > 2 and row["closed"] is None]

    assert len(left(wrong)) == 1
    assert not left(right)


def test_the_judges_channel_is_not_shown(course):
    figure = why("1.1", root=course)
    shown = [row["fd"] for place in places(figure, "descriptors") for row in place.chatlab_rows]
    assert shown
    assert 250 not in shown


def test_reaping_is_shown(course):
    wrong, right = (place.chatlab_rows for place in places(why("1.1", root=course), "processes"))
    assert [row["reaped"] is not None for row in wrong] == [False, False]
    assert [row["reaped"] is not None for row in right] == [False, True]


def test_time_begins_at_the_call(course):
    figure = why("1.1", root=course)
    for place in places(figure, "processes") + places(figure, "descriptors"):
        assert place.get_xlim()[0] == 0.0
        assert place.get_xlabel().startswith("time since the call (")


def test_the_long_wait_at_the_end_is_words_and_not_width(course):
    """The child waits until the deadline, 1.5 s after its last call."""
    place = places(why("1.1", root=course), "processes")[0]
    assert "nothing changes" in place.get_xlabel()
    assert place.get_xlim()[1] < 1000


def test_what_both_sides_hold_alike_and_never_use_is_left_out(course):
    figure = why("1.1", root=course)
    shown = {row["fd"] for place in places(figure, "descriptors") for row in place.chatlab_rows}
    assert shown
    assert not shown & {0, 1, 2}
    assert "not drawn" in figure.get_supxlabel()


def test_a_side_whose_descriptors_are_all_left_out_says_so():
    held = Descriptor(1, 3, "pipe", "pipe", 0.0, None, "received")
    first = Process(1, None, 0.0, None, None, None, "a")
    child = Process(2, 1, 0.1, 0.3, 0, None, "a")
    copy = Descriptor(2, 3, "pipe", "pipe", 0.1, 0.3, "fork")
    read = Call(0.2, 0.01, 2, "read", ("3",), 1, None, 3, "read(3<pipe:[7]>) = 1")
    one = Trace(processes=[first], descriptors=[held], end=1.0)
    other = Trace(calls=[read], processes=[first, child], descriptors=[held, copy], end=1.0)
    timelines = _told_apart([one, other])
    assert [timeline.descriptors for timeline in timelines] == [[], [copy]]
    place = Figure().subplots()
    _descriptors(place, _Side("your code", one, []), timelines[0], inches=3.0)
    assert "none but those that both sides hold alike" in [text.get_text() for text in place.texts]


def test_a_process_that_runs_without_a_call_is_called_that(course):
    (course / "labs" / "01_mini" / "exercises.py").write_text("def work(sock):\n    while True:\n        pass\n")
    run("labs", ["1.1"], root=course, keep_traces=kept_folder(course), warm=True)
    wrong, right = places(why("1.1", root=course), "messages")
    assert "runs, makes no call" in [text.get_text() for text in wrong.texts]
    assert "runs, makes no call" not in [text.get_text() for text in right.texts]


def test_without_a_solution_one_side_is_drawn(course):
    (course / "solutions" / "01_mini" / "exercises.py").unlink()
    assert titles(why("1.1", root=course)) == ["your code: messages", "your code: processes", "your code: descriptors"]


def test_a_failure_is_forgotten_when_the_exercise_passes(course):
    (course / "labs" / "01_mini" / "exercises.py").write_text(RIGHT)
    run("labs", ["1.1"], check="test_end", root=course, keep_traces=kept_folder(course), warm=True)
    assert (kept_folder(course) / "1.1").exists(), "one check alone is not the exercise"
    (verdict,) = run("labs", ["1.1"], root=course, keep_traces=kept_folder(course), warm=True)
    assert verdict.verdict == "passed"
    with pytest.raises(WhyError, match="no failed check of exercise 1.1 is kept"):
        why("1.1", root=course)


def test_nothing_kept_is_one_line(course):
    with pytest.raises(WhyError, match="no failed check of exercise 1.2 is kept: run `make check-1` first"):
        why("1.2", root=course)


def test_a_broken_record_is_one_line(course):
    (kept_folder(course) / "1.1" / "check.json").write_text("{")
    with pytest.raises(WhyError, match="cannot be read"):
        why("1.1", root=course)


def test_a_record_of_another_version_is_one_line(course):
    path = kept_folder(course) / "1.1" / "check.json"
    details = json.loads(path.read_text())
    del details["ended"]
    path.write_text(json.dumps(details))
    with pytest.raises(WhyError, match="cannot be read: run `make check-1` first"):
        why("1.1", root=course)


def test_no_trace_is_one_line(course):
    (kept_folder(course) / "1.1" / "strace").unlink()
    with pytest.raises(WhyError, match="install strace"):
        why("1.1", root=course)


def test_the_record_holds_what_repeats_the_check(course):
    details = json.loads((kept_folder(course) / "1.1" / "check.json").read_text())
    assert details["check"] == "test_end"
    assert isinstance(details["seed"], int)
    assert "a kept copy" in details["feedback"]


def test_a_stub_keeps_nothing(tmp_path):
    mini_course.make(tmp_path, CHECKS)
    run("labs", ["1.1"], root=tmp_path, keep_traces=kept_folder(tmp_path), warm=True)
    assert not (kept_folder(tmp_path) / "1.1").exists()

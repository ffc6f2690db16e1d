"""The path of the bytes through one process: what is drawn is what the calls moved."""

import matplotlib
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from chatlab.plot import byte_path, path
from chatlab.trace import Call, Trace

LANES = {1: "screen", 0: "keyboard", None: "memory", 4: "pipe", 3: "pipe", 5: "connection"}
SPLICE = ("NULL", "65536", "SPLICE_F_NONBLOCK")


@pytest.fixture(autouse=True)
def figures_closed():
    yield
    plt.close("all")


def call(time, name, args, result, error=None):
    return Call(time, 0.0001, 1, name, args, result, error, int(args[0]) if args[0].isdigit() else None, f"{name}(…)")


def splice(time, source, target, result, error=None):
    return call(time, "splice", (source, "NULL", target, *SPLICE), result, error)


@pytest.fixture
def trace():
    """A line goes out by splice, one comes in and is printed, the input ends; others do not concern the figure."""
    return Trace(
        calls=[
            call(0.010, "poll", ("[{fd=0, events=POLLIN}]", "1", "-1"), 1),
            splice(0.011, "0", "4", 24),
            splice(0.012, "3", "5", 24),
            splice(0.013, "3", "5", -1, "EAGAIN"),
            call(0.020, "poll", ("[{fd=5, events=POLLIN}]", "1", "-1"), 1),
            call(0.021, "recvfrom", ("5", '"I am\\n"', "65536", "0", "NULL", "NULL"), 5),
            call(0.022, "write", ("1", '"I am\\n"', "5"), 5),
            call(0.023, "write", ("2", '"not in a lane"', "13"), 13),
            splice(0.030, "0", "4", 0),
            call(0.031, "shutdown", ("5", "SHUT_WR"), 0),
            splice(0.032, "3", "9", 7),
        ],
        end=0.040,
    )


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def test_each_call_that_moved_bytes_is_an_arrow_from_lane_to_lane(trace):
    rows = byte_path(trace, LANES).chatlab_rows
    assert [(row["call"], row["source"], row["target"], row["size"]) for row in rows] == [
        ("splice", "keyboard", "pipe", 24),
        ("splice", "pipe", "connection", 24),
        ("recvfrom", "connection", "memory", 5),
        ("write", "memory", "screen", 5),
        ("splice", "keyboard", None, 0),
        ("shutdown", "connection", None, 0),
    ]
    assert [row["time"] for row in rows] == [0.011, 0.012, 0.021, 0.022, 0.030, 0.031]


def test_it_is_labelled_with_names_sizes_and_units(trace):
    ax = byte_path(trace, LANES, title="Ann")
    written = texts(ax)
    assert {"splice 24 B", "recvfrom 5 B", "write 5 B", "splice: end of file", "shutdown: no more to send"} <= {
        *written
    }
    assert written[-5:] == ["screen", "keyboard", "memory", "pipe", "connection"]
    assert ax.get_title(loc="left") == "Ann"
    assert "(ms)" in ax.get_ylabel()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["moved by the kernel", "copied", "poll"]
    ax.figure.canvas.draw()


def test_moved_and_copied_differ_without_colour(trace):
    ax = byte_path(trace, LANES)
    styles = {line.get_label(): line.get_linestyle() for line in ax.get_legend().get_lines()}
    assert styles["moved by the kernel"] != styles["copied"]


def test_without_a_lane_for_memory_only_moves_are_drawn(trace):
    lanes = {fd: name for fd, name in LANES.items() if fd is not None}
    assert {row["call"] for row in byte_path(trace, lanes).chatlab_rows} == {"splice", "shutdown"}


def test_a_poll_before_a_call_is_a_line_across(trace):
    ax = byte_path(trace, LANES)
    across = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert len(across) == 2


def test_it_goes_into_the_axes_that_are_given(trace):
    _, (left, right) = plt.subplots(1, 2, layout="constrained")
    assert byte_path(trace, LANES, ax=right) is right
    assert not left.texts


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        (Trace(), "no call was seen"),
        (Trace(exact=False, note="sampled"), "calls cannot be sampled: install strace"),
        (Trace(calls=[splice(i / 1000, "0", "4", 1) for i in range(70)], end=1.0), "… and 10 more calls, not drawn"),
    ],
    ids=["empty", "sampled", "many"],
)
def test_what_is_not_drawn_is_said(trace, says):
    ax = byte_path(trace, LANES)
    assert says in texts(ax)
    assert len(ax.chatlab_rows) == min(len(trace.calls), path.MOST_CALLS)
    ax.figure.canvas.draw()

"""The figures: what they show is what the trace says, checked on the artists and on `chatlab_rows`."""

import os
import shutil

import matplotlib
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from chatlab.launch import run
from chatlab.plot import descriptor_timeline, process_tree, sequence, sequence_chart, style
from chatlab.plot import descriptors as timeline
from chatlab.trace import Call, Descriptor, Message, Process, Signal, Trace

FIGURES = (descriptor_timeline, process_tree, sequence_chart)


@pytest.fixture(autouse=True)
def figures_closed():
    yield
    plt.close("all")


@pytest.fixture
def trace():
    """A parent that forks a child, which answers and is reaped; a second child stays a zombie."""
    return Trace(
        calls=[
            Call(0.0300, 0.0050, 1, "recvfrom", ("3",), 5, None, 3, "recvfrom(3<UNIX-STREAM:[1->2]>) = 5"),
            Call(0.0350, 0.0001, 1, "recvfrom", ("3",), 0, None, 3, "recvfrom(3<UNIX-STREAM:[1->2]>) = 0"),
            Call(0.0360, 0.0010, 1, "wait4", ("2",), 2, None, None, "wait4(2, [{WIFEXITED(s)}], 0, NULL) = 2"),
        ],
        processes=[
            Process(1, None, 0.0, None, None, None, "/usr/bin/python3 -u labs/parent.py --port 0"),
            Process(2, 1, 0.020, 0.033, 3, None, "/usr/bin/python3 -u labs/parent.py --port 0"),
            Process(3, 1, 0.025, 0.038, None, "SIGKILL", "/usr/bin/sort -n"),
        ],
        descriptors=[
            Descriptor(1, 3, "socketpair", "socketpair a", 0.010, None, "open"),
            Descriptor(1, 4, "socketpair", "socketpair b", 0.010, 0.021, "open"),
            Descriptor(2, 3, "socketpair", "socketpair a", 0.020, 0.022, "fork"),
            Descriptor(2, 4, "socketpair", "socketpair b", 0.020, 0.033, "fork"),
            Descriptor(1, 9, "other", "timerfd", 0.011, None, "open"),
        ],
        signals=[Signal(0.034, 1, "SIGCHLD", 2, 3), Signal(0.038, 3, "SIGKILL", 1, None)],
        messages=[
            Message(0.030, 0.035, 2, 1, 5, "socketpair", "hello", 4, 3),
            Message(0.031, None, 1, 2, 2, "socketpair", "$1", 3, 4),
            Message(0.032, 0.032, None, 1, 9, "tcp", "from out\n", None, 7),
        ],
        end=0.040,
    )


def gids(ax):
    return {artist.get_gid() for artist in ax.findobj() if artist.get_gid()}


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_has_title_units_legend_and_a_notebooks_width(figure, trace):
    ax = figure(trace)
    assert ax.get_title(loc="left")
    assert "(ms)" in ax.get_xlabel() + ax.get_ylabel()
    assert ax.get_legend().get_texts()
    assert ax.figure.get_size_inches()[0] == pytest.approx(9.0)
    ax.figure.canvas.draw()


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_is_drawn_into_the_axes_that_are_given(figure, trace):
    _, (left, right) = plt.subplots(1, 2, layout="constrained")
    assert figure(trace, ax=right) is right
    assert not left.texts
    right.figure.canvas.draw()
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("figure", FIGURES)
def test_an_empty_trace_is_drawn_without_complaint(figure):
    ax = figure(Trace())
    assert ax.chatlab_rows == []
    ax.figure.canvas.draw()


@pytest.mark.parametrize("figure", FIGURES)
def test_a_sampled_trace_says_so(figure, trace):
    sampled = Trace(processes=trace.processes, descriptors=trace.descriptors, end=0.04, exact=False, note="sampled")
    assert "sampled" in texts(figure(sampled))


def test_timeline_has_a_bar_for_each_descriptor(trace):
    ax = descriptor_timeline(trace)
    assert [(row["pid"], row["fd"], row["opened"], row["closed"]) for row in ax.chatlab_rows] == [
        (1, 3, 0.010, None),
        (1, 4, 0.010, 0.021),
        (2, 3, 0.020, 0.022),
        (2, 4, 0.020, 0.033),
    ]
    bars = {bar.get_gid(): bar for bar in ax.patches if bar.get_gid()}
    bar = bars["2:4:20000"]
    assert (bar.get_x(), bar.get_width()) == (pytest.approx(20.0), pytest.approx(13.0))
    assert bars["1:3:10000"].get_x() + bars["1:3:10000"].get_width() == pytest.approx(40.0)
    assert bar.get_hatch() == style.look("socketpair").hatch
    assert "parent.py · pid 1" in texts(ax)
    assert "child 1 · pid 2" in texts(ax)
    assert "socketpair a" in texts(ax)


def test_timeline_rows_are_grouped_by_process_in_the_order_of_numbers(trace):
    rows = {(row["pid"], row["fd"]): row["row"] for row in descriptor_timeline(trace).chatlab_rows}
    assert rows == {(1, 3): 1, (1, 4): 2, (2, 3): 4, (2, 4): 5}


def test_timeline_of_chosen_kinds_shows_also_what_it_hides_by_default(trace):
    ax = descriptor_timeline(trace, kinds=["other"])
    assert [row["name"] for row in ax.chatlab_rows] == ["timerfd"]


def test_timeline_puts_untouched_standard_streams_in_one_row():
    names = ["/dev/null", "pipe 1 (write end)", "pipe 2 (write end)"]
    streams = [Descriptor(1, fd, "pipe", name, 0.0, None, "at-start") for fd, name in enumerate(names)]
    copies = [Descriptor(2, fd, "pipe", name, 0.01, 0.02, "fork") for fd, name in enumerate(names)]
    processes = [Process(1, None, 0.0, None, None, None, "a"), Process(2, 1, 0.01, 0.02, 0, None, "a")]
    ax = descriptor_timeline(Trace(processes=processes, descriptors=streams + copies, end=0.03))
    assert [(row["pid"], row["fd"], row["row"]) for row in ax.chatlab_rows] == [
        (1, 0, 1), (1, 1, 1), (1, 2, 1), (2, 0, 3), (2, 1, 3), (2, 2, 3),
    ]  # fmt: skip
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0–2", "0–2"]
    redirected = [Descriptor(2, 1, "file", "file out.txt", 0.015, 0.02, "dup")]
    ax = descriptor_timeline(Trace(processes=processes, descriptors=streams + copies + redirected, end=0.03))
    assert len({row["row"] for row in ax.chatlab_rows if row["pid"] == 2}) > 1


def test_timeline_gives_a_number_used_again_a_row_where_its_name_has_room():
    process = Process(1, None, 0.0, None, None, None, "a")
    spans = [(0.001, 0.002), (0.0021, 0.003), (0.9, 0.95)]
    used = [Descriptor(1, 4, "tcp", f"tcp 127.0.0.1:9999 ← :{i}", *span, "open") for i, span in enumerate(spans)]
    rows = [
        row["row"] for row in descriptor_timeline(Trace(processes=[process], descriptors=used, end=1.0)).chatlab_rows
    ]
    assert rows == [1, 2, 1]


def test_timeline_of_very_many_rows_says_how_many_it_left_out():
    process = Process(1, None, 0.0, None, None, None, "a")
    many = [Descriptor(1, fd, "tcp", "tcp", 0.001, None, "open") for fd in range(3, 203)]
    ax = descriptor_timeline(Trace(processes=[process], descriptors=many, end=0.01))
    assert len(ax.chatlab_rows) == timeline.MOST_ROWS - 1
    assert f"… and {200 - timeline.MOST_ROWS + 1} more rows, not drawn" in texts(ax)


def test_tree_shows_lives_endings_and_zombies(trace):
    ax = process_tree(trace)
    by_pid = {row["pid"]: row for row in ax.chatlab_rows}
    assert by_pid[2]["reaped"] == pytest.approx(0.037)
    assert by_pid[2]["zombie"] == pytest.approx(0.004)
    assert (by_pid[3]["reaped"], by_pid[3]["zombie"], by_pid[3]["signal"]) == (None, None, "SIGKILL")
    assert by_pid[1]["signals"] == ["SIGCHLD"]
    assert {"1", "2", "3", "2:zombie", "3:zombie"} <= gids(ax)
    assert "1:zombie" not in gids(ax)
    zombie = next(line for line in ax.lines if line.get_gid() == "2:zombie")
    assert list(zombie.get_xdata()) == [pytest.approx(33.0), pytest.approx(37.0)]
    assert {"exit 3", "SIGKILL", "SIGCHLD"} <= set(texts(ax))
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["parent.py · pid 1", "child 1 · pid 2", "sort · pid 3"]


def test_tree_puts_children_below_their_parents():
    lives = [(1, None, 0.0), (2, 1, 0.01), (3, 1, 0.02), (4, 2, 0.03)]
    processes = [Process(pid, parent, start, None, None, None, "a") for pid, parent, start in lives]
    rows = process_tree(Trace(processes=processes, end=0.05)).chatlab_rows
    assert [(row["lane"], row["pid"]) for row in rows] == [(0, 1), (1, 2), (2, 4), (3, 3)]


def test_sequence_has_an_arrow_for_each_message(trace):
    ax = sequence_chart(trace, names={1: "server", 2: "client"})
    assert [(row["source"], row["target"], row["size"]) for row in ax.chatlab_rows] == [
        (2, 1, 5),
        (1, 2, 2),
        (None, 1, 9),
    ]
    assert {"message:0", "message:1", "message:2"} <= gids(ax)
    shown = texts(ax)
    assert "“hello” 5 B" in shown
    assert r"“\$1” 2 B" in shown
    assert r"“from out\n” 9 B" in shown
    assert {"server", "client", "outside\nof the trace", "end of file on 3"} <= set(shown)


def test_sequence_runs_downward_and_keeps_the_order_of_time(trace):
    clock = sequence._Clock(trace, sequence._Story(trace), {1: 0.0, 2: 1.0, 3: 2.0})
    times = [0.0, 0.02, 0.0301, 0.031, 0.033, 0.035, 0.039, 0.04]
    depths = [clock.y(time) for time in times]
    assert depths == sorted(depths)
    assert len(set(depths[1:])) == len(depths[1:])


def test_sequence_names_the_call_that_a_process_never_came_back_from(trace):
    stuck = Call(0.036, 0.004, 1, "recvfrom", ("3",), None, None, 3, "recvfrom(3<UNIX-STREAM:[1->2]> …")
    ax = sequence_chart(Trace(calls=[stuck], processes=trace.processes, messages=trace.messages, end=0.04))
    assert "waits in recvfrom(3)" in texts(ax)


def test_sequence_shows_what_passed_through_shared_memory():
    """A line comes to a child, which rings the parent, which rings the other, which sends it on."""
    processes = [Process(pid, None if pid == 1 else 1, 0.0, None, None, None, "server") for pid in (1, 2, 3)]
    said = [
        Message(0.010, 0.010, None, 2, 6, "tcp", "hello\n", None, 7),
        Message(0.011, 0.012, 2, 1, 1, "socketpair", ".", 6, 5),
        Message(0.013, 0.014, 1, 3, 1, "socketpair", ".", 7, 8),
        Message(0.015, None, 3, None, 6, "tcp", "hello\n", 9, None),
    ]
    trace = Trace(processes=processes, messages=said, end=0.02)
    ax = sequence_chart(trace, memory="shared memory")
    assert [row["memory"] for row in ax.chatlab_rows] == ["into", None, None, "out of"]
    assert {"memory:0", "memory:3"} <= gids(ax) and not {"memory:1", "memory:2"} & gids(ax)
    arrows = {line.get_gid(): tuple(line.get_xdata()) for line in ax.lines if (line.get_gid() or "")[:3] == "mem"}
    lane = max(text.xy[0] for text in ax.texts if text.get_text() == "shared memory")
    assert arrows == {"memory:0": (2.0, lane), "memory:3": (lane, 3.0)}, "from the lane of its tail to that of its head"
    ax.figure.canvas.draw()
    without = sequence_chart(trace)
    assert {row["memory"] for row in without.chatlab_rows} == {None}
    assert "shared memory" not in texts(without)


def test_sequence_of_a_cut_trace_has_no_births_and_ends_that_are_not_in_it(trace):
    whole, cut = sequence_chart(trace), sequence_chart(trace.between(0.0295, 0.0325))
    assert {"exit 3", "SIGKILL"} <= set(texts(whole))
    assert not {"exit 3", "SIGKILL"} & set(texts(cut))
    assert "fork" in [text.get_text() for text in whole.get_legend().get_texts()]
    assert "fork" not in [text.get_text() for text in cut.get_legend().get_texts()]


def test_sequence_of_a_cut_behind_the_end_of_the_trace_is_empty(trace):
    ax = sequence_chart(trace.between(5.0, 6.0), memory="shared memory")
    assert not ax.chatlab_rows
    assert "no message was seen" in texts(ax)


def test_sequence_counts_time_from_where_it_is_told():
    processes = [Process(pid, None, 0.0, None, None, None, "a") for pid in (1, 2)]
    said = [Message(5.0001, 5.0003, 1, 2, 1, "pipe", "x", 4, 3)]
    trace = Trace(processes=processes, messages=said, begin=5.0001, end=5.0005)
    ax = sequence_chart(trace, zero=5.0001)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "400"]
    assert "(µs)" in ax.get_ylabel()
    assert sequence_chart(trace).get_yticklabels()[0].get_text() == "5000.10"


def test_sequence_of_very_many_messages_says_how_many_it_left_out():
    processes = [Process(1, None, 0.0, None, None, None, "a")]
    many = [Message(i / 1000, i / 1000, 1, 1, 1, "pipe", f"x{i}", 4, 3) for i in range(100)]
    ax = sequence_chart(Trace(processes=processes, messages=many, end=0.1))
    assert len(ax.chatlab_rows) == sequence.MOST_MESSAGES
    assert f"… and {100 - sequence.MOST_MESSAGES} more messages, not drawn" in texts(ax)


def test_sequence_draws_what_a_lane_repeats_once():
    processes = [Process(pid, None, 0.0, None, None, None, "a") for pid in (1, 2)]
    ends = [Call(0.01 + i / 1000, 0.0001, 1, "read", ("3",), 0, None, 3, "read(3<pipe:[7]>) = 0") for i in range(100)]
    said = [Message(0.2 + i / 1000, None, 1, 2, 5, "pipe", "again", 4, 3) for i in range(4)]
    said += [Message(0.3, 0.31, 1, 2, 5, "pipe", "again", 4, 3)]
    ax = sequence_chart(Trace(processes=processes, calls=ends, messages=said, end=0.4))
    shown = texts(ax)
    assert shown.count("end of file on 3 × 100") == 1
    assert [text for text in shown if "again" in text] == ["“again” 5 B × 4", "“again” 5 B"]
    assert {"message:0", "message:4"} <= gids(ax)
    assert len(ax.chatlab_rows) == 5


def test_sequence_draws_an_end_of_file_on_either_side_of_a_message_twice():
    ends = [Call(time, 0.0001, 1, "read", ("3",), 0, None, 3, "read(3<pipe:[7]>) = 0") for time in (0.01, 0.03)]
    said = [Message(0.02, 0.02, 1, 2, 5, "pipe", "word", 4, 3)]
    processes = [Process(pid, None, 0.0, None, None, None, "a") for pid in (1, 2)]
    shown = texts(sequence_chart(Trace(processes=processes, calls=ends, messages=said, end=0.4)))
    assert shown.count("end of file on 3") == 2


def test_sequence_shows_a_state_at_the_end_of_a_lane_and_a_note_that_covers_no_lane():
    processes = [Process(1, None, 0.0, None, None, None, "a")]
    ax = sequence_chart(Trace(processes=processes, end=1.0), states={1: "runs, makes no call"})
    assert {"runs, makes no call", "no message was seen"} <= set(texts(ax))
    ax.figure.canvas.draw()
    note = next(text for text in ax.texts if text.get_text() == "no message was seen").get_window_extent()
    (lane,) = [line for line in ax.lines if line.get_gid() == "1"]
    assert note.y1 <= lane.get_window_extent().y0


@pytest.mark.parametrize("figure", [descriptor_timeline, process_tree])
def test_a_time_axis_begins_where_it_is_told(figure, trace):
    assert figure(trace, first=0.0).get_xlim()[0] == 0.0
    assert figure(trace).get_xlim()[0] > 0.0


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/bin/python3.11 -I -S labs/01_fork/fork_demo.py --count 3", "fork_demo.py"),
        ("/usr/bin/python3 -c 'print(1)'", "python3 -c"),
        ("/usr/bin/sort -n", "sort"),
        ("python3", "python3"),
        ("sh -c 'unbalanced", "sh"),
        ("", "process"),
    ],
)
def test_program_names(command, name):
    assert style.program(command) == name


@pytest.mark.parametrize(
    ("text", "shown"),
    [("hi\n", r"“hi\n”"), ("a\x1b[31m\0", r"“a\x1b[31m\x00”"), ("grüß", "“grüß”"), ("x" * 30, f"“{'x' * 23}…”")],
)
def test_a_strangers_bytes_are_shown_and_not_obeyed(text, shown):
    assert style.printable(text) == shown


def test_every_kind_has_a_look_of_its_own():
    assert len(set(style.KINDS.values())) == len(style.KINDS)
    assert style.look("something new") == style.look("other")


@pytest.mark.parametrize(("seconds", "name"), [(0.0005, "µs"), (0.5, "ms"), (60, "s")])
def test_units(seconds, name):
    assert style.unit(seconds).name == name


@pytest.mark.skipif(shutil.which("strace") is None and not os.environ.get("CI"), reason="strace is not installed")
def test_figures_of_a_real_program(tmp_path):
    program = tmp_path / "talk.py"
    program.write_text(
        "import os, socket\n"
        "a, b = socket.socketpair()\n"
        "if os.fork() == 0:\n"
        "    a.close()\n"
        "    b.sendall(b'answer to: ' + b.recv(100))\n"
        "    os._exit(3)\n"
        "b.close()\n"
        "a.sendall(b'question')\n"
        "a.recv(100), a.recv(100)\n"
        "os.wait()\n"
    )
    trace = run(str(program), trace=True).trace
    parent, child = (process.pid for process in trace.processes)
    pair = [row for row in descriptor_timeline(trace).chatlab_rows if row["kind"] == "socketpair"]
    assert [(row["pid"], row["fd"], row["how"]) for row in pair] == [
        (parent, 3, "open"),
        (parent, 4, "open"),
        (child, 3, "fork"),
        (child, 4, "fork"),
    ]
    assert [row["status"] for row in process_tree(trace).chatlab_rows] == [0, 3]
    ax = sequence_chart(trace)
    assert [(row["source"], row["text"]) for row in ax.chatlab_rows] == [
        (parent, "question"),
        (child, "answer to: question"),
    ]
    assert "end of file on 3" in texts(ax)
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()

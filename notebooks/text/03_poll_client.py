# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: chatlab
#     language: python
#     name: chatlab
# ---

# %% [markdown]
# # 03 · the poll client: listen to two at once, and copy nothing
#
# A chat client has a keyboard and a connection, and never knows which of them speaks next. If it waits for one, it is
# deaf to the other. `poll` waits for both. And what was typed need not pass through the program at all: `splice` lets
# the kernel move it. In this notebook you see poll's answers, the path of the bytes, and what four small mistakes cost.
#
# ## 1. Objectives
#
# After this notebook you can
#
# - read an answer of `poll`, and say what a program should do first;
# - follow a typed line from the keyboard through a pipe to the connection, and say what was copied on the way;
# - say when `splice` pays and when it does not, from figures of your own machine;
# - recognise a short move, a late line, lost last words and a busy wait by their pictures.
#
# Run the cells from top to bottom (Shift-Enter). The programs are those of `labs/03_poll_client`; each runs for real,
# in processes of its own, while `strace` notes what it asks of the kernel. Times are new in every run. Without `strace`
# some cells have nothing to show, and say so.

# %%
# %config InlineBackend.figure_format = "retina"
import contextlib
import os
import re
import select
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from matplotlib import pyplot as plt

from chatlab import check, course, launch, plot, procfs, run

CLIENT, PITFALLS = (f"labs/03_poll_client/{name}.py" for name in ("poll_client", "pitfalls"))
SERVER = "labs/04_poll_server/poll_server.py"


def exact(trace):
    """Is the trace from strace? Else say that the cell leaves something out."""
    if not trace.exact:
        print("(not shown here: this needs strace, and make doctor tells how to get it)")
    return trace.exact


# %% [markdown]
# ## 2. Predict
#
# Put your answers into the next cell.
#
# 1. The server says "goodbye" and closes. Words and end reach the client together, while it sleeps in `poll`. Which
#    events does poll report: `"IN"`, `"RDHUP"`, or `"IN RDHUP"`?
# 2. A line is given to the connection with `SPLICE_F_MORE`, "more will follow", and nothing follows. After how many
#    milliseconds does it arrive: `0`, `40` or `200`?
# 3. A splice is told to move the 65,536 bytes of a full pipe into a connection that has room for less. What does it do:
#    move `"all"`, after waiting; move `"some"`; or move `"none"`, with an error?
#
# Exercise 3.1 asks for nine more answers of poll. Now is the time to write them into `exercises.py`: section 6 shows
# what the kernel says.

# %%
my_events = "RDHUP"  # 1: "IN", "RDHUP" or "IN RDHUP"
my_delay = 0  # 2: milliseconds: 0, 40 or 200
my_move = "all"  # 3: "all", "some" or "none"


def compare(mine, seen):
    print("you guessed it:" if mine == seen else f"you guessed {mine!r}, and it is", repr(seen))


# %% [markdown]
# ## 3. Launch
#
# First a room: the server of lab 04, Ann with the client of this lab, and Bob, who is no more than a socket of this
# notebook. What Ann "types" comes through a pipe; for the client that is the same as a keyboard.

# %%
with contextlib.ExitStack() as room:
    server = room.enter_context(launch(SERVER, "--port", "0"))
    bob = room.enter_context(server.connect())
    ann = room.enter_context(launch(CLIENT, *server.address, stdin="pipe", ready=False))
    ann.write(b"hello, is anyone there?\n")
    print("Bob received:", bob.recv(100))
    bob.sendall(b"I am, always\n")
    ann.wait_for_text("always\n")
    server.signal(signal.SIGTERM)
    server.wait()
    status = ann.wait()

print("Ann's screen:", ann.output.encode())
print("Ann's client:", ann.log.strip(), f"(exit status {status})")
assert (ann.output, status) == ("I am, always\n", 0)

# %% [markdown]
# Ann could have been silent for an hour: the client was not waiting for her. It slept in `poll`, in which it waits for
# whoever speaks first.
#
# From here on the server is this notebook too, so that it can do whatever a server may do to a client. One whole
# conversation: a line out, a line in, the end of Ann's input, a late word, the end.


# %%
@contextlib.contextmanager
def meet(program, *arguments, **how):
    """Launch a client, and be its server: gives the client and the connection with it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        how = {"stdin": "pipe", **how}
        with launch(program, *arguments, host, port, ready=False, **how) as client:
            listener.settimeout(10)
            connection, _ = listener.accept()
            connection.settimeout(10)
            with connection:
                yield client, connection


def conversation(*options):
    """Returns Ann's client, ended."""
    with meet(CLIENT, *options, trace=True) as (client, connection):
        client.write(b"hello, is anyone there?\n")
        assert connection.recv(100) == b"hello, is anyone there?\n"
        connection.sendall(b"I am\n")
        client.wait_for_text("I am\n")
        client.close_stdin()
        assert connection.recv(100) == b""  # end of file: Ann has nothing more to say
        connection.sendall(b"good night\n")
        client.wait_for_text("good night\n")
        connection.close()
        client.wait()
    return client


ann, copying = conversation(), conversation("--no-splice")
print(ann.output)
assert ann.output == copying.output == "I am\ngood night\n"

# %% [markdown]
# ## 4. Trace
#
# Each time that poll came back in that conversation, with what it said. 0 is the keyboard, 5 the connection. (Before
# the first line comes the connect: it does not wait either, and poll tells when the attempt is over.)


# %%
def answers(trace):
    """What each poll of a trace has reported: a list of (descriptor, names of events)."""
    results = [call.text.rpartition(" = ")[2] for call in trace.named("poll")]
    found = [pair for result in results for pair in re.findall(r"fd=(\d+)[^{}]*?revents=([A-Z|]+)", result)]
    return [(int(fd), events.replace("POLL", "").replace("|", " ")) for fd, events in found]


if exact(ann.trace):
    what = ["connected", "Ann types", "the server speaks", "Ann's input ends", "the server speaks", "the server closes"]
    polls = answers(ann.trace)
    for (fd, events), happened in zip(polls, what, strict=True):
        print(f"{happened:20} {fd}: {events}")
    assert polls == [(5, "OUT"), (0, "IN"), (5, "IN"), (0, "HUP"), (5, "IN"), (5, "IN HUP RDHUP")]

# %% [markdown]
# Two of them deserve a second look. The end of a pipe is HUP *without* IN: who only looks for IN never learns of it.
# And the end of the connection is reported as IN, since a `recv` would not wait. HUP stands beside it here because both
# halves are over: Ann's client had ended its own before.
#
# What it did after each of these answers:

# %%
if exact(ann.trace):
    for call in ann.trace.quiet().named("splice", "recvfrom", "write", "shutdown"):
        places = [call.args[0], call.args[2]] if call.name == "splice" else [call.args[0]]
        result = f"{call.result} bytes" if call.name != "shutdown" else call.args[1]
        print(f"{call.name:8} {' → '.join(places):5}  {result}")
    moves = [(call.args[0], call.args[2], call.result) for call in ann.trace.named("splice")]
    assert moves == [("0", "4", 24), ("3", "5", 24), ("0", "4", 0)]

# %% [markdown]
# `splice` needs a pipe at one of its ends at least, and neither keyboard nor connection need be one. So the client has
# a pipe of its own: it writes into descriptor 4 and takes out of descriptor 3.
#
# ## 5. Plot
#
# What was open, and for how long. The dashed lines are the two ends of the conversation, half an end each.

# %% tags=["nbval-ignore-output"]
trace, title = ann.trace, "One conversation: what the client has open"
for record in trace.descriptors:
    if record.kind == "tcp":  # cut to its life: Python takes longer to start than they talk
        trace = trace.between(record.opened - 0.001, record.closed + 0.001)
ax = plot.descriptor_timeline(trace, kinds={"tcp", "pipe"}, names={ann.pid: "Ann's client"}, title=title)
ax.set_title(title, loc="left", size=11, pad=18)
ends = ann.trace.named("shutdown") + [call for call in ann.trace.named("recvfrom") if call.result == 0]
for call, words, side in zip(ends, ("Ann's half-close", "the server's end"), ("right", "left"), strict=False):
    ax.axvline(call.time * 1000, color="black", linestyle="--", linewidth=1)
    ax.annotate(f" {words} ", (call.time * 1000, 1), xycoords=("data", "axes fraction"), ha=side, va="bottom", size=8)

# %%
if exact(ann.trace):
    rows = {row["fd"]: row for row in ax.chatlab_rows}
    for fd in (3, 4, 5):
        print(f"descriptor {fd}:", re.sub(r" :\d+ → .*", "", rows[fd]["name"]))
    half, end = (call.time for call in ends)
    assert rows[5]["opened"] < half < end < rows[5]["closed"]
    assert rows[3]["opened"] == rows[4]["opened"] < rows[5]["opened"]

# %% [markdown]
# Between the two lines the connection is half open: nothing more goes out, and "good night" still came in.
#
# Now the same conversation as a sequence chart. It follows the bytes: each lane is a place where they can be, and one
# of them is the program's own memory. At the right the same client with `--no-splice`.

# %% tags=["nbval-ignore-output"]
LANES = {1: "screen", 0: "keyboard", None: "memory", 3: "pipe", 4: "pipe", 5: "connection"}
clients = {"splice": ann, "--no-splice: read and send": copying}
figure, axes = plt.subplots(1, 2, figsize=(9, 4.3), layout="constrained")
for ax, (title, client) in zip(axes, clients.items(), strict=True):
    plot.byte_path(client.trace.quiet(), LANES, ax, title=title)


# %%
def way(rows, size):
    """The places through which so many bytes went."""
    steps = [row for row in rows if row["size"] == size]
    return " → ".join([steps[0]["source"], *(row["target"] for row in steps)])


if exact(ann.trace):
    for ax, title in zip(axes, clients, strict=True):
        print(title)
        print("    a typed line:  ", way(ax.chatlab_rows, 24))
        print("    a line for her:", way(ax.chatlab_rows, 11))
    assert way(axes[0].chatlab_rows, 24) == "keyboard → pipe → connection"
    assert way(axes[1].chatlab_rows, 24) == "keyboard → memory → connection"

# %% [markdown]
# With `splice` the typed line goes past the program's memory. The pipe copies nothing either: it holds references to
# the pages in which the bytes lie. That looks like a great saving. Is it one? Both ways need two calls for a line.
#
# So measure: the client moves 1000 messages (32 MiB at most) of each size, from a file in memory to a server that only
# counts. `CHUNK_BYTES` is the most that it takes at a time. The clock runs from the connect to the half-close, and the
# best of three rounds is kept.

# %%
MEASURED = """
import os, sys, time
import poll_client

class Measured(poll_client.PollClient):
    def connect(self):
        super().connect()
        self.began = time.perf_counter(), time.process_time()

    def end_input(self):
        super().end_input()
        seconds, processor = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        print(poll_client.CHUNK_BYTES, way, seconds, processor)

host, port, *messages = sys.argv[1:]
os.dup2(os.memfd_create("input"), 0)
for pair in messages:
    poll_client.CHUNK_BYTES, count = map(int, pair.split("x"))
    os.truncate(0, 0)
    os.pwrite(0, bytes(poll_client.CHUNK_BYTES * count), 0)
    for way in ("copy", "splice"):
        os.lseek(0, 0, os.SEEK_SET)
        Measured(host, int(port), splicing=way == "splice").run()
"""
COUNTS = {size: min(1000, 2**25 // size) for size in (64, 256, 1024, 4096, 16384, 65536)}  # size: messages


def sink(listener):
    """Take a connection, and count its bytes to the end. MSG_TRUNC throws them away uncopied: tcp(7)."""
    nowhere = bytearray(2**20)
    connection, _ = listener.accept()
    connection.settimeout(10)
    with connection:
        return sum(iter(lambda: connection.recv_into(nowhere, 0, socket.MSG_TRUNC), 0))


# %%
def measure(rounds=3):
    """Returns (size, way) → [(seconds, seconds of processor time)] for all messages, and the bytes that arrived."""
    found, arrived = {}, set()
    messages = [f"{size}x{count}" for size, count in COUNTS.items()] * rounds
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        arguments = ["-c", MEASURED, *listener.getsockname(), *messages]
        folder = course.find_root() / "labs/03_poll_client"  # where Python finds poll_client
        with launch(sys.executable, *arguments, ready=False, cwd=folder) as program:
            for pair in messages:
                arrived |= {(pair, sink(listener)), (pair, sink(listener))}
            program.wait()
    for size, way, *seconds in map(str.split, program.output.splitlines()):
        found.setdefault((int(size), way), []).append(tuple(map(float, seconds)))
    return found, arrived


found, arrived = measure()
assert arrived == {(f"{size}x{count}", size * count) for size, count in COUNTS.items()}
print("Whichever way, every byte arrives.")

# %% tags=["nbval-ignore-output"]
LOOKS = {"splice": ("o-", "black"), "copy": ("s--", "0.5")}
_, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
lines = {}
for way, (style, color) in LOOKS.items():
    best = {size: [min(column) for column in zip(*found[size, way], strict=True)] for size in COUNTS}
    rate = [size * COUNTS[size] / best[size][0] / 1e6 for size in COUNTS]
    cost = [best[size][1] / COUNTS[size] * 1e6 for size in COUNTS]
    for ax, values in ((left, rate), (right, cost)):
        label = "splice" if way == "splice" else "read and send (--no-splice)"
        lines[ax, way] = ax.plot(list(COUNTS), values, style, color=color, label=label)[0]
    print(f"{way:6}", *[f"{size}: {micro:.1f} µs" for size, micro in zip(COUNTS, cost, strict=True)], sep="   ")
for ax in (left, right):
    ax.set(xscale="log", yscale="log", xlabel="bytes in a message")
    ax.set_xticks(list(COUNTS), [f"{size:,}" for size in COUNTS], size=8)
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
left.set_title("Throughput", loc="left")
left.set_ylabel("MB/s")
left.legend(frameon=False)
right.set_title("Processor time for a message", loc="left")
_ = right.set(yscale="linear", ylim=(0, None), ylabel="µs")

# %%
for line in lines.values():
    assert list(line.get_xdata()) == list(COUNTS) and min(line.get_ydata()) > 0
assert all(len(rounds) == 3 for rounds in found.values())
print(f"{len(found)} points, each the best of 3 rounds")

# %% [markdown]
# The honest conclusion: **for what people type, splice saves nothing.** Where this was written (two cores, busy with
# other work) a 64-byte message cost the client 4 µs of processor time by splice and 3 µs by copying; 64 KiB cost 11 µs
# and 27 µs. Both ways make the same number of calls, and below some kilobytes it is the calls that cost, and splice's
# are the dearer ones. Beyond, it is the copies: "zero copy" pays on bulk. (From a pipe that another process fills the
# gain is smaller; the handout measures that.) The client uses splice since this lab is about it, and since a file may
# be dropped into a chat.
#
# ## 6. Explain
#
# **poll answers a question about waiting.** IN: a read would not wait. OUT: a write would not. Neither says that there
# is data, or that the write will succeed: an end and an error do not wait either. HUP, ERR and NVAL come unasked. The
# next cell makes many situations for real, and asks poll for what makes sense in each.

# %%
EVENTS = ("IN", "OUT", "RDHUP", "HUP", "ERR", "NVAL")
table, heading = {}, ""  # heading → {situation: events}
for line in run("docs/demos/poll_events.py").output.splitlines():
    if line.startswith(" "):
        situation, said = line[3:48].strip(), line[49:83]  # its columns
        table[heading][situation] = re.findall(r"POLL(\w+)", said)
    else:
        heading = line.strip()
        table[heading] = {}

connection, sockets, pipes, others = table.values()
assert connection["has said a line and closed, or half-closed"] == ["IN", "RDHUP"]
assert pipes["empty, its writer gone"] == ["HUP"]
assert sockets["a connect that was refused"] == ["OUT", "ERR", "HUP"]
print(sum(map(len, table.values())), "situations")

# %% tags=["nbval-ignore-output"]
rows = [row for heading, found in table.items() for row in ((heading, None), *found.items())]
_, ax = plt.subplots(figsize=(9, 0.25 * len(rows) + 0.8), layout="constrained")
for y, (text, events) in enumerate(rows):
    ax.text(-0.7, y, text, ha="right", va="center", size=8.5, weight="bold" if events is None else "normal")
    if events is not None:
        ax.axhline(y, color="0.9", linewidth=0.8, zorder=0)
        ax.scatter([EVENTS.index(event) for event in events], [y] * len(events), s=55, color="black")
ax.set(xlim=(-0.6, len(EVENTS) - 0.4), ylim=(len(rows) - 0.5, -0.5), yticks=[])
ax.set_xticks(range(len(EVENTS)), EVENTS)
ax.xaxis.tick_top()
ax.tick_params(length=0)
ax.spines[:].set_visible(False)
_ = ax.set_title("What poll reports in revents (a dot: it does)", loc="left")

# %%
dots = sum(len(collection.get_offsets()) for collection in ax.collections)
print(dots, "dots")
assert dots == sum(len(events) for found in table.values() for events in found.values())

# %% [markdown]
# Look down the columns. RDHUP says that the peer has ended *its* half; HUP of a connection that *both* are over.
# Pipes know no RDHUP, since they have one direction only. And look along the rows that say "a line": the end is
# reported while there is something to read. Hence the order of things in the client: **read first, whatever the events
# are**, and let the read tell what it was.
#
# ## 7. Break it
#
# Each program in `pitfalls.py` is the client with one small step replaced.
#
# **The end before the words.** The server says its last words and closes. With `MSG_MORE` it holds the words back, so
# that they leave in one segment with the end, and the client learns of both in one answer of poll.


# %%
def last_words(program, *arguments):
    with meet(program, *arguments, trace=True) as (client, connection):
        connection.send(b"goodbye, and thanks\n", socket.MSG_MORE)
        connection.close()
        client.wait()
    return client


good, bad = last_words(CLIENT), last_words(PITFALLS, "last-words-lost")
print("reference prints:", good.output.encode())
print("pitfall prints:  ", bad.output.encode())
assert (good.output, bad.output) == ("goodbye, and thanks\n", "")
if exact(good.trace):
    polls = {program: answers(client.trace)[1] for program, client in (("reference", good), ("pitfall", bad))}
    print("what poll said to both of them:", polls["pitfall"][1])
    assert polls["reference"] == polls["pitfall"] == (5, "IN RDHUP")
    compare(my_events, polls["pitfall"][1])

# %% [markdown]
# The pitfall handles RDHUP first, as you may find it advised, and leaves. Its words lie in the kernel's buffer, and go
# with it.
#
# **More will follow.** Five lines, each typed when the one before has arrived. The pitfall gives them to the connection
# with `SPLICE_F_MORE`, as the textbook's client does.


# %%
def delays(program, *arguments, lines=5):
    """Seconds from the typing of each line to its arrival at the server."""
    seconds = []
    with meet(program, *arguments) as (client, connection):
        for number in range(lines):
            typed = time.monotonic()
            client.write(b"line %d\n" % number)
            assert connection.recv(100) == b"line %d\n" % number
            seconds.append(time.monotonic() - typed)
    return seconds


prompt, late = delays(CLIENT), delays(PITFALLS, "late-lines")

# %% tags=["nbval-ignore-output"]
_, ax = plt.subplots(figsize=(9, 2.8), layout="constrained")
numbers = range(1, len(late) + 1)
drawn = {}
for label, seconds, style, color in (
    ("pitfall: with SPLICE_F_MORE", late, "s", "0.5"),
    ("reference: without", prompt, "o", "black"),
):
    (drawn[label],) = ax.plot(numbers, [one * 1000 for one in seconds], style, color=color, markersize=7)
    ax.text(numbers[-1] + 0.15, seconds[-1] * 1000, label, va="center", size=9)
ax.hlines(200, 0.5, numbers[-1], color="black", linestyle="--", linewidth=0.8, zorder=0)
ax.text(0.55, 240, "200 ms", va="bottom", size=8)
ax.set(yscale="log", xlim=(0.5, 7), ylim=(0.01, 1000), xlabel="typed line", ylabel="ms, logarithmic")
ax.set_xticks(numbers)
ax.yaxis.set_major_formatter("{x:g}")
ax.spines[["top", "right"]].set_visible(False)
ax.set_title("From Enter to the server", loc="left")
print(
    "reference, ms:", *[f"{one * 1000:.2f}" for one in prompt], "  pitfall, ms:", *[f"{one * 1000:.0f}" for one in late]
)

# %%
assert all(len(line.get_ydata()) == 5 for line in drawn.values())
assert min(late) > 0.1  # the kernel's timer: never sooner, however fast the machine
assert min(prompt) < min(late)
compare(my_delay, min((0, 40, 200), key=lambda guess: abs(guess - min(late) * 1000)))

# %% [markdown]
# The flag is a promise: more will follow. TCP believes it, and waits for the rest of a full segment, for 200 ms at
# most. A promise that is kept costs nothing: the server above used the same flag, and its close followed at once.
#
# **A short move.** Ann drops a file of 12 MB into a chat whose server does not read for a while. (Its receive buffer
# is small, so that you need not wait.) The client asks each splice for all that is in the pipe. What do the splices
# move?

# %%
FILE_BYTES = 12_000_000


@contextlib.contextmanager
def drop_a_file(program, *arguments, **how):
    """Launch a client whose standard input is a file, at a server with a small buffer: gives both, as `meet` does."""
    with tempfile.NamedTemporaryFile() as file, socket.socket() as listener:
        os.truncate(file.name, FILE_BYTES)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # its connections inherit it
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        command = [sys.executable, program, *arguments, *listener.getsockname()]
        with launch("/bin/sh", "-c", 'exec "$@" <"$0"', file.name, *command, ready=False, **how) as client:
            listener.settimeout(10)
            connection, _ = listener.accept()
            connection.settimeout(10)
            with connection:
                yield client, connection


def until(condition, seconds=10):
    """Look every few milliseconds, until it has held ten times in a row."""
    held, deadline = 0, time.monotonic() + seconds
    while held < 10:
        held = held + 1 if condition() else 0
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.003)


def received(connection):
    return sum(map(len, iter(lambda: connection.recv(65536), b"")))


# %% tags=["nbval-ignore-output"]
with drop_a_file(CLIENT, trace=True) as (client, connection):
    until(lambda: (procfs.waits_in(client.pid) or [""])[0] == "poll")  # no room: it waits for POLLOUT
    arrived = received(connection)
    connection.close()
    status = client.wait()

out = [call for call in client.trace.named("splice") if call.fd == 3]
short = [call for call in out if call.error or call.result < int(call.args[4])]
if exact(client.trace) and short:
    asked = [int(call.args[4]) / 1024 for call in out]
    moved = [0 if call.error else call.result / 1024 for call in out]
    _, ax = plt.subplots(figsize=(9, 3), layout="constrained")
    ax.vlines(range(len(out)), moved, asked, color="0.5", linewidth=1.5)
    (wanted,) = ax.plot(asked, "o", color="black", markerfacecolor="white", markersize=6, label="in the pipe")
    (went,) = ax.plot(moved, ".", color="black", markersize=6, label="moved")
    ax.set(xlabel="splices from the pipe to the connection, in their order", ylabel="KiB", ylim=(-4, 70))
    ax.set_yticks(range(0, 65, 16))
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("Short moves: a dot below its ring", loc="left")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    print("moves into the connection:", len(out), "of which short:", len(short))

# %%
print(f"{arrived:,} bytes of {FILE_BYTES:,} have arrived; exit status {status}")
assert (arrived, status) == (FILE_BYTES, 0)
if exact(client.trace):
    gaps = [ring - dot for ring, dot in zip(wanted.get_ydata(), went.get_ydata(), strict=True)]
    assert sum(gap > 0 for gap in gaps) == len(short) > 0
    assert round(sum(went.get_ydata()) * 1024) == FILE_BYTES  # short or not, the moves add up
    compare(my_move, "some" if any(call.result > 0 for call in short if not call.error) else "none")

# %% [markdown]
# A ring is what a splice was told to move, all that the pipe held; a dot is what it moved. Most rings are full. A dot
# below its ring is a short move: the connection had room for no more. (A dot at 0 is EAGAIN, room for nothing.) What is
# left stays in the pipe, the client takes nothing new, and asks poll for OUT; so the next ring is a smaller one.
#
# This is the pitfall that does not count what is left:


# %%
def processor_seconds(pid):
    """Processor time that a process has used: utime and stime of proc(5), in hundredths of a second mostly."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


with drop_a_file(PITFALLS, "half-a-file") as (client, connection):
    until(lambda: processor_seconds(client.pid) > 0.3)  # it is stuck, and busy with it
    connection.shutdown(socket.SHUT_WR)
    status = client.wait()
    arrived = received(connection)

print("everything has arrived:", arrived == FILE_BYTES)
print(f"it says: {client.log.strip()} (exit status {status})")
assert arrived < FILE_BYTES

# %% [markdown]
# It has lost a part of the file, and does not know.
#
# **An end that nobody handles.** Two clients, the reference and *busy-at-hang-up*, whose keyboard is a pipe. Its writer
# closes it. How much of a processor do they use from then on, with nobody saying anything?

# %%
USED_SECONDS = 0.3  # so much, and the picture is clear

with meet(CLIENT) as (good, good_connection), meet(PITFALLS, "busy-at-hang-up") as (bad, bad_connection):
    for client in (good, bad):
        client.close_stdin()
    assert good_connection.recv(1) == b""  # the reference has told it; the pitfall never will
    began = time.monotonic()
    before = {client: processor_seconds(client.pid) for client in (good, bad)}
    looks = []  # (time, reference, pitfall), in seconds
    while not looks or (looks[-1][2] < USED_SECONDS and looks[-1][0] < 10):
        used = [processor_seconds(client.pid) - before[client] for client in (good, bad)]
        looks.append((time.monotonic() - began, *used))
        time.sleep(0.01)
    silent = not select.select([bad_connection], [], [], 0)[0]

# %% tags=["nbval-ignore-output"]
_, ax = plt.subplots(figsize=(9, 2.8), layout="constrained")
times, *used = zip(*looks, strict=True)
lines = [ax.plot(times, seconds, style)[0] for seconds, style in zip(used, ("-", "--"), strict=True)]
for line, color, name in zip(lines, ("black", "0.5"), ("reference", "pitfall: busy-at-hang-up"), strict=True):
    line.set_color(color)
    line.set_linewidth(2)
    ax.annotate(name, (line.get_xdata()[-1], line.get_ydata()[-1]), xytext=(6, 0), textcoords="offset points", size=9)
ax.set(xlabel="time since the writer of the pipe has gone (s)", ylabel="processor time (s)", xlim=(0, times[-1] * 1.3))
ax.spines[["top", "right"]].set_visible(False)
_ = ax.set_title("The price of a HUP that nobody handles", loc="left")

# %%
reference, pitfall = (line.get_ydata()[-1] for line in lines)
assert pitfall >= USED_SECONDS > 5 * reference
print("the reference sleeps; the pitfall does not, and has it told the server?", "no" if silent else "yes")
assert silent

# %% [markdown]
# poll says HUP, the program looks for IN, does nothing, and asks again, thousands of times a second. Nothing shows it
# but the fan. The cure is to take HUP for ready: the splice then gives 0, the client half-closes, and polls
# the keyboard no more. It has to leave the list: HUP is reported even to those who ask for nothing.
#
# Seven more are in `python labs/03_poll_client/pitfalls.py`: *deaf-at-the-end*, *silent-while-sending*, *lines-torn*,
# *busy-with-nothing-to-send*, *connected-to-nobody*, *obeys-strangers* and *shell-without-waiting*.
#
# ## 8. Your turn
#
# The exercises are in `labs/03_poll_client/exercises.py`. Open that file in the file browser at the left, or in your
# own editor, solve one, save, and run the cell below again.
#
# - **3.1** predict what poll says
# - **3.2** decide from poll's answer what to do, and in which order
# - **3.3** half-close at the end of the input, and hear the answer
# - **3.4** connect to several addresses at once, and keep the first
# - **3.5** when splice cannot, go on by hand
# - **3.6** make a stranger's bytes safe to print
# - **3.7** drain the pipe after short moves
# - **3.8** a client of your own, put together from these

# %%
verdicts = check("3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8")

# %% [markdown]
# For a check that fails, run in a cell of your own
#
# ```python
# from chatlab import why
# why("3.7")
# ```
#
# It draws what your code did, and beside it what the reference does in the same check. In a terminal, `make check-3`
# judges, and `make hint EX=3.7` gives a hint.
#
# ## 9. Going further
#
# - Give `plot.byte_path` a trace of *your* client: launch `labs/03_poll_client/exercises.py` instead of `CLIENT` in
#   `conversation`. Which descriptors has it?
# - Drop the file with `--no-splice`. What does a short `send` do with the rest?
# - `python docs/demos/client_scenes.py` plays the server for the client and for each pitfall, in words.
# - `labs/03_poll_client/README.md` tells each part at length, with the man pages and book chapters to read.
# - Next: lab 04, the server at the other end. It polls not two, but a thousand.

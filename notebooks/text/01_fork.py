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
# # 01 · fork: one call, two returns
#
# `fork` is called by one process, and two return from it. Each goes on as if it were the only one. Much that is strange
# about servers begins right there: a line that is printed twice, a client that waits for ever, a process that is dead
# and still listed. In this notebook you look at all three, in pictures of what the kernel saw.
#
# ## 1. Objectives
#
# After this notebook you can
#
# - say what two processes share after a fork, and what each has for itself;
# - find in a trace who wrote a line that nobody meant to write twice;
# - read in a descriptor timeline who holds a connection, and when its client sees end of file;
# - recognise a zombie, and a process that should not be there.
#
# Run the cells from top to bottom (Shift-Enter). The programs are those of `labs/01_fork`; each runs for real, in
# processes of its own, while `strace` notes what it asks of the kernel. So the times and pids that you see are new in
# every run. Without `strace` the pictures come from looking at `/proc` every few milliseconds: they still tell the
# story, but they miss what is quick, and the cells that need more say so.

# %%
# %config InlineBackend.figure_format = "retina"
import re
import signal
import socket
import time

from matplotlib import pyplot as plt

from chatlab import check, launch, plot, run

DEMO, SERVER, PITFALLS = (f"labs/01_fork/{name}.py" for name in ("fork_demo", "fork_server", "pitfalls"))


def exact(trace):
    """Is the trace from strace? Else say that the cell leaves something out."""
    if not trace.exact:
        print("(not shown here: this needs strace, and make doctor tells how to get it)")
    return trace.exact


# %% [markdown]
# ## 2. Predict
#
# Three questions. Put your own answers into the next cell before you go on: a wrong guess costs nothing, and shows you
# where to look.
#
# 1. A program prints one line, then forks, and both processes end. Its standard output is a file. How often is the line
#    in the file?
# 2. A server accepts a client, forks a child for it, and closes the connection in the parent. Does the client notice?
# 3. Five children end, and their parent calls `wait` once. How many zombies are left?

# %%
my_lines = 1  # 1: lines in the file
my_client_notices = True  # 2: does the client notice the parent's close?
my_zombies = 0  # 3: zombies after one wait

# %% [markdown]
# ## 3. Launch
#
# The fork program of the course's notes. `run` starts it, waits for its end, and collects what the program *and its
# children* have written. Pids are new in every run, so the cell puts names in their place: P is the parent, C its
# child.

# %%
done = run(DEMO, "--part", "fork", trace=True)
child = re.search(r"child +(\d+)", done.output)[1]
print(done.output.replace(str(done.pid), "P").replace(child, "C"))

# %% [markdown]
# One process spoke before the fork, and two after it. Each has its own `count`: nobody counted to 2.
#
# Now the first question. The program has three lines that matter: `print("printed before the fork")`, `os.fork()`, and
# the end. (The kit gives it a pipe as standard output, which for Python is the same as a file.)

# %%
twice = run(DEMO, "--part", "print-then-fork", trace=True)
lines = twice.output.splitlines()
print(*lines, sep="\n")
assert len(lines) == 2
print("you guessed it" if my_lines == len(lines) else f"you guessed {my_lines}, and it is there {len(lines)} times")

# %% [markdown]
# And now the server: `fork_server.py` gives each client a child of its own, which sends back what the client sends. The
# option `--explain` makes it log who holds each connection at every step. Three clients come, one after the other; each
# waits until the server has closed its own copy of the connection, and only then says something. Then they leave, the
# second one first.

# %%
answers, ends = {}, {}
with launch(SERVER, "--port", "0", "--explain", trace=True) as server:
    clients = {}
    for number in (1, 2, 3):
        clients[number] = client = server.connect()
        server.wait_for_text(f":{client.getsockname()[1]} after the server's close", where="log")
        client.sendall(f"I am client {number}\n".encode())
        answers[number] = client.recv(100)
    for number in (2, 1, 3):
        clients[number].shutdown(socket.SHUT_WR)  # "I have nothing more to say"
        assert clients[number].recv(100) == b""  # waits for the end of file
        ends[number] = time.time()
        clients[number].close()
    server.signal(signal.SIGTERM)
    server.wait()

print(*answers.items(), sep="\n")
client_notices = any(answer == b"" for answer in answers.values())
print("Does a client notice the parent's close?", "yes" if client_notices else "no")
assert not client_notices
print("you guessed it" if my_client_notices == client_notices else "you guessed otherwise: look at the next pictures")

# %% [markdown]
# ## 4. Trace
#
# A trace is a list of records: processes, descriptors, system calls, signals, messages. First the line that is there
# twice. Which process wrote it?

# %%
if exact(twice.trace):
    who = twice.trace.names()
    writes = [call for call in twice.trace.named("write") if call.fd == 1]
    for call in writes:
        print(f"{who[call.pid]:8} write(1, {call.args[1]}, {call.args[2]}) = {call.result}")
    (fork,) = (call for call in twice.trace.named("fork", "clone", "clone3") if call.result)
    assert {who[call.pid] for call in writes} == {"parent", "child 1"}
    assert all(call.time > fork.time for call in writes)
    assert writes[0].args == writes[1].args

# %% [markdown]
# Both wrote it, the same bytes, and both *after* the fork. The `print` had only put them into a buffer in memory. fork
# copied the memory, the buffer in it, and each process wrote its copy when it ended.
#
# Now the server: the life of the three connections, each descriptor with the process that had it.

# %%
trace = server.trace
who = trace.names("server")
connections = [record for record in trace.descriptors if record.kind == "tcp"]
ports = sorted({record.name for record in connections}, key=[record.name for record in connections].index)

if exact(trace):
    for number, port in enumerate(ports, start=1):
        copies = [record for record in connections if record.name == port]
        events = [(record.opened, who[record.pid], f"has it, by {record.how}") for record in copies]
        events += [(record.closed, who[record.pid], "closes it") for record in copies]
        print(f"connection {number}")
        for _, process, what in sorted(events):
            print(f"    {process:8} {what}")
        assert [process for _, process, _ in sorted(events)] == ["server", f"child {number}"] * 2

# %% [markdown]
# ## 5. Plot
#
# The same, drawn over time. A row is a descriptor in a process, a bar lasts from open to close. Look for the three
# short bars of the server (descriptor 4, three times over), and for the long ones that the children have. The dashed
# lines are the moments in which the clients saw end of file. Who closed last before each of them?

# %% tags=["nbval-ignore-output"]
title = "fork_server.py with three clients: who holds what"
ax = plot.descriptor_timeline(trace, kinds={"listener", "tcp"}, names=who, title=title)
for row in ax.chatlab_rows:
    if row["how"] == "fork" and row["kind"] == "tcp":
        number = ports.index(row["name"]) + 1
        x, y = (ends[number] - trace.start) * 1000, row["row"]
        ax.plot([x, x], [y - 0.6, y + 0.4], color="black", linestyle="--", linewidth=1.5)
        ax.text(x, y - 1, f"client {number} sees\nend of file", ha="center", va="center", fontsize=8)

# %%
if exact(trace):
    rows = [row for row in ax.chatlab_rows if row["kind"] == "tcp"]
    for number, port in enumerate(ports, start=1):
        in_server, in_child = (row for row in rows if row["name"] == port)
        assert in_server["closed"] < in_child["closed"]  # the parent's close comes first …
        assert in_child["closed"] < ends[number] - trace.start  # … and only after the child's the client sees the end
        print(f"connection {number}: the server closes, then child {number}, and then the client sees end of file")

# %% [markdown]
# One conversation as a sequence chart. Time runs downward, an arrow is a message from the write to the read. Nothing
# passes from the server to its child: the child simply *has* the connection, since fork has copied the descriptor.


# %%
def one_client(program, *arguments):
    """One client comes, asks, is done. Returns the ended server, and what the client got once its child had ended."""
    with launch(program, *arguments, "--port", "0", "--explain", trace=True) as server, server.connect() as client:
        server.wait_for_text("after the server's close", where="log")
        client.sendall(b"are you there?\n")
        client.recv(100)
        client.shutdown(socket.SHUT_WR)
        server.wait_for_text("reaped", where="log")
        client.setblocking(False)
        try:
            last = "end of file" if client.recv(100) == b"" else "more bytes"
        except BlockingIOError:
            last = "nothing: no bytes, no end of file"
        server.signal(signal.SIGTERM)
        server.wait()
    return server, last


good, good_last = one_client(SERVER)
print("the client received", good_last)
assert good_last == "end of file"

# %% tags=["nbval-ignore-output"]
talk = good.trace.without(fds={1, 2})  # without its log
lanes = {None: "client", **talk.names("server")}
ax = plot.sequence_chart(talk, names=lanes, title="One conversation with fork_server.py")

# %%
if exact(talk):
    for row in ax.chatlab_rows:
        print(f"{lanes[row['source']]} → {lanes[row['target']]}: {row['text']!r}, {row['size']} bytes")
    assert [row["size"] for row in ax.chatlab_rows] == [15, 15]

# %% [markdown]
# The third question is about what comes after the end. A child that has ended leaves its status behind, for its parent
# to collect with `wait`. Until then it is a zombie. Here the parent collects all five:

# %% tags=["nbval-ignore-output"]
reaped = run(DEMO, "--part", "zombies", "--count", "5", trace=True)
title = "Five children, each a zombie until the parent waits"
ax = plot.process_tree(reaped.trace, names=reaped.trace.names(), title=title)

# %%
if exact(reaped.trace):
    children = [row for row in ax.chatlab_rows if row["parent"] == reaped.pid]
    print("exit statuses:", [row["status"] for row in children])
    print("still zombies when the parent ends:", sum(row["reaped"] is None for row in children))
    assert all(row["zombie"] > 0 for row in children)  # seconds between its end and the parent's wait

# %% [markdown]
# ## 6. Explain
#
# **fork copies the memory, and shares what is open.** The count and the print buffer are memory: each process has its
# own, and what happens to one does not show in the other. A descriptor is a number that refers to something in the
# kernel, here a connection. fork copies the number; the connection is still one.
#
# **The kernel counts the references.** `close` gives up one of them. When the count falls to 0 the kernel ends the
# connection, and the client sees end of file. So the parent's close is not rude to the client; it does not even show.
# These lines are what the server read in `/proc/PID/fd` of both processes at each step of the conversation above:

# %%
for line in good.log.splitlines():
    if step := re.search(r":\d+ (before|after) (.*?): (.*); count (\d), (.*)", line):
        print(f"{step[1]:6} {step[2]:20} count {step[4]}, {step[5]}")

# %% [markdown]
# **A child's end is not the end of its pid.** The kernel keeps the status for the parent; a `wait` fetches one. That is
# all that a zombie is: a pid with a status, no memory, no descriptors. The kernel also sends the parent a signal,
# SIGCHLD. Count the triangles in the picture: there may be fewer than children, since a signal that is already waiting
# is not sent again. Lab 06 comes back to this.
#
# ## 7. Break it
#
# Each program in `pitfalls.py` is the one above with one small step replaced.
#
# **The parent keeps its copy of the connection.** Say what will be different in the timeline before you run it.

# %%
bad, bad_last = one_client(PITFALLS, "no-end-of-file")
print("reference: the child has ended, and the client receives", good_last)
print("pitfall:   the child has ended, and the client receives", bad_last)
assert bad_last == "nothing: no bytes, no end of file"

# %% tags=["nbval-ignore-output"]
_, axes = plt.subplots(2, figsize=(9, 6.5), layout="constrained")
titles = ("reference: the parent closes its copy", "pitfall: the parent keeps its copy")
for ax, program, title in zip(axes, (good, bad), titles, strict=True):
    plot.descriptor_timeline(program.trace, ax, kinds={"tcp"}, names=program.trace.names("server"), title=title)

# %%
if exact(good.trace) and exact(bad.trace):
    for ax, title, last in zip(axes, titles, ("child", "server"), strict=True):
        in_server, in_child = ax.chatlab_rows
        print(f"{title}; the last to close is the {last}")
        assert last == ("server" if in_server["closed"] > in_child["closed"] else "child")

# %% [markdown]
# In the second picture the child ends as it should, and the count falls from 2 to 1, not to 0. Only when the server
# itself ends does the client see the end. A server that lives for a year keeps a descriptor for every client that it
# ever had.
#
# **The parent waits once for five children.**

# %% tags=["nbval-ignore-output"]
left = run(PITFALLS, "zombies-remain", trace=True)
ax = plot.process_tree(left.trace, names=left.trace.names(), title="Five children, one wait")

# %%
zombies = left.output.splitlines()[-1].count("is Z")  # its last line tells who is still in state Z
print(zombies, "zombies are left:", "you guessed it" if my_zombies == zombies else f"you guessed {my_zombies}")
assert zombies == 4
if exact(left.trace):
    assert sum(row["reaped"] is None and row["parent"] == left.pid for row in ax.chatlab_rows) == zombies

# %% [markdown]
# **The child does not leave.** It is a copy of its parent, the place in the program included. A parent that forks in a
# loop has a child that stands in the same loop. Three turns should make three children.

# %% tags=["nbval-ignore-output"]
many = run(PITFALLS, "too-many-processes", trace=True)
ax = plot.process_tree(many.trace, names=many.trace.names(), title="Three children were asked for")

# %%
print("children that say goodbye:", many.output.count("I leave with status"))
assert many.output.count("I leave with status") == 7
if exact(many.trace):
    grandchildren = [row for row in ax.chatlab_rows if row["parent"] not in (None, many.pid)]
    print(f"processes: {len(ax.chatlab_rows)}, grandchildren and deeper: {len(grandchildren)}")
    assert len(ax.chatlab_rows) == 2**3 and len(grandchildren) == 4

# %% [markdown]
# Each turn doubles the processes: 2 × 2 × 2. The cure is `os._exit` at the end of the child, in a `finally`, so that no
# exception leads past it.
#
# Three more are in `python labs/01_fork/pitfalls.py`: *printed-twice*, *child-hangs* and *port-stays-taken*.
#
# ## 8. Your turn
#
# The exercises are in `labs/01_fork/exercises.py`. Open that file in the file browser at the left, or in your own
# editor, solve one, save, and run the cell below again.
#
# - **1.1** predict: the processes and lines of a program with two forks in a loop
# - **1.2** start children that run at the same time, and reap every one
# - **1.3** let a child leave by `_exit`, with nothing printed twice
# - **1.4** close the right descriptors, so that the client sees end of file
# - **1.5** a fork that fails: clean up, and tell the caller
# - **1.6** a pipeline of two programs, from pipe, fork, dup2 and exec
#
# In a terminal `make check-1` does the same, and `make hint EX=1.2` gives a hint.

# %%
verdicts = check("1.1", "1.2", "1.3", "1.4", "1.5", "1.6")

# %% [markdown]
# When a check fails, the kit keeps the trace of it. In a cell of your own
#
# ```python
# from chatlab import why
# why("1.2")
# ```
#
# draws what your code did, and beside it what the reference does in the same check.
#
# ## 9. Going further
#
# - What does fork cost? `python docs/demos/copy_on_write.py` shows the pages that parent and child share until one
#   of them writes.
# - Change `fork_server.py` so that it forks its children *before* any client comes. Who accepts? Draw it.
# - `labs/01_fork/README.md` tells each part at length, with the man pages and book chapters to read.
# - Next: [02 · socketpair](02_socketpair.ipynb), for a parent and a child that have something to say to each other.

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
# # 02 · socketpair: two ends, both directions
#
# `socketpair` gives a process two sockets that are connected with each other. After a fork each process keeps one end,
# and then parent and child can talk. Three things go wrong again and again: somebody keeps an end that is not his,
# both wait for the other to begin, and messages are taken for something that a stream has. In this notebook you see
# each of them happen.
#
# ## 1. Objectives
#
# After this notebook you can
#
# - say which end a byte comes out of, and when a read would wait;
# - read in a timeline who closed which end, and why end of file came when it did, or did not;
# - recognise a deadlock by what each process waits in;
# - tell a stream from messages, and say how much a send can take before it waits.
#
# As before: run from top to bottom. The programs are those of `labs/02_socketpair`, and `strace` notes what they ask of
# the kernel. Where it is not installed, the cells that need it say so and go on.

# %%
# %config InlineBackend.figure_format = "retina"
import re
import socket

from matplotlib import pyplot as plt

from chatlab import check, plot, run

DEMO, PITFALLS = (f"labs/02_socketpair/{name}.py" for name in ("socketpair_demo", "pitfalls"))


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
# 1. A process writes `hello` into one end of a pair, and then reads from *the same* end. What does it get: `"hello"`,
#    `"end of file"`, or does it wait (`"nothing"`)?
# 2. Four sends of 4, 4, 2 and 4 bytes go into a stream. How many bytes does one `recv(4096)` bring?
# 3. A child answers its parent, and ends. The parent still has *both* ends open. What does its next `recv` give:
#    `"end of file"`, or does it wait (`"nothing"`)?

# %%
my_own_end = "hello"  # 1: "hello", "end of file" or "nothing"
my_bytes = 4  # 2: bytes that one recv brings
my_last_recv = "end of file"  # 3: "end of file" or "nothing"


def compare(mine, seen):
    print("you guessed it:" if mine == seen else f"you guessed {mine!r}, and it is", repr(seen))


# %% [markdown]
# ## 3. Launch
#
# One pair within one process, without any fork. The kernel names a socket by a number that is new in every run; the
# cell leaves it out.

# %%
duplex = run(DEMO, "--part", "duplex")
print(re.sub(r":\[\d+\]", "", duplex.output))

# %% [markdown]
# Both ends sent, and both received: one pair, two directions, at the same time. That is what *full duplex* means.
#
# And now the first question.

# %%
own_end = run(DEMO, "--part", "own-end", trace=True)
print(own_end.output)
seen = "nothing" if "recv on fd 3 with MSG_DONTWAIT: EAGAIN" in own_end.output else "hello"
compare(my_own_end, seen)
assert seen == "nothing"

# %% [markdown]
# What goes into an end comes out of the *other* one. A plain `recv` on descriptor 3 would wait, here for ever, since
# nobody else is there to write into descriptor 4. `MSG_DONTWAIT` asks the kernel to say EAGAIN instead of waiting.
#
# Last, a parent and its child. Each closes the end that is the other's; then the parent asks, and the child answers on
# the same pair.

# %%
talk = run(DEMO, "--part", "fork", trace=True)
print(re.sub(r":\[\d+\]", "", talk.output))

# %% [markdown]
# ## 4. Trace
#
# The same moments as the kernel saw them. First the reads that may not wait:

# %%
if exact(own_end.trace):
    for call in own_end.trace.named("sendto", "poll", "recvfrom"):
        argument = re.sub(r"<.*?\]>", "", call.args[0])  # without the socket's number
        print(f"{call.name}({argument}, …) = {call.error or call.result}")
    (refused,) = (call for call in own_end.trace.calls if call.name == "recvfrom" and call.error)
    assert (refused.fd, refused.error) == (3, "EAGAIN")

# %% [markdown]
# `poll` counts the descriptors that are ready: 0 for the end that was written to, 1 for the other.
#
# Then the conversation: every message that one process wrote and the other read.

# %%
story = talk.trace.without(fds={0, 1, 2})  # without what they print
who = story.names()
if exact(story):
    for source in ("parent", "child 1"):
        sent = [message.text for message in story.messages if who[message.source] == source]
        print(f"{source:8} sends {sent}")
    assert all(message.via == "socketpair" and message.received is not None for message in story.messages)
    assert [message.size for message in story.messages][-2:] == [15, 3]

# %% [markdown]
# The single dots are how the two wait for each other: each sends one byte and waits for the other's.
#
# ## 5. Plot
#
# Time runs downward. The dots cross on the way, one in each direction: nobody has to wait for a turn. The ring is a
# read that found the end of file.

# %% tags=["nbval-ignore-output"]
ax = plot.sequence_chart(story, names=who, title="Parent and child on one pair")
if story.exact:
    question, answer = story.messages[-2:]
    microseconds = (answer.received - question.sent) * 1e6
    print(f"From the question's send to the answer's recv, under strace: {microseconds:.0f} µs")

# %%
if exact(story):
    rows = ax.chatlab_rows
    ending = [call for call in story.named("recvfrom") if call.result == 0]
    print("messages:", len(rows), "of", sum(row["size"] for row in rows), "bytes; ends of file:", len(ending))
    assert rows[-2]["received"] <= rows[-1]["received"]
    assert [(who[call.pid], call.fd) for call in ending] == [("parent", 3)]

# %% [markdown]
# Why did the parent see end of file, and when? The timeline of the four descriptors says it. Bars of the same name are
# copies of the same end.

# %% tags=["nbval-ignore-output"]
title = "Who holds which end; dashed: the parent reads end of file"
ax = plot.descriptor_timeline(story, kinds={"socketpair"}, names=who, title=title)
for call in story.named("recvfrom"):
    if call.result == 0:
        ax.axvline((call.time + call.duration) * 1000, color="black", linestyle="--", linewidth=1)


# %%
def last_to_close(rows, end):
    """The process that had the last copy of an end."""
    return max((row for row in rows if row["name"] == end), key=lambda row: row["closed"])


if exact(story):
    rows = ax.chatlab_rows
    for end in ("socketpair a", "socketpair b"):
        print(f"{end}: closed last by", who[last_to_close(rows, end)["pid"]])
    assert [(row["how"], row["fd"]) for row in rows] == [("open", 3), ("open", 4), ("fork", 3), ("fork", 4)]
    assert who[last_to_close(rows, "socketpair b")["pid"]] == "child 1"
    (leaving,) = (call for call in story.named("exit_group") if who[call.pid] == "child 1")
    assert leaving.time < ending[0].time + ending[0].duration  # the kernel closes what the child had, and then …

# %% [markdown]
# ## 6. Explain
#
# **End of file is the last close.** As with the connection of lab 01, the kernel counts who holds an end. When the last
# copy of *b* is gone, the reader of *a* gets what is still in the buffer, and then end of file. The child did not close
# its end; it just ended, and the kernel closed it. (So the dashed line may stand a hair before the end of the child's
# bars: the kernel first closes what a process has, and then lets it end, which is what `strace` notes.) The parent's
# own copy of *b* would have kept the end open.
#
# **A stream is bytes, seqpacket is messages.** The program sends into a stream, then into a pair of the kind
# `SOCK_SEQPACKET`. Above is what was sent, below what each `recv` brought.

# %% tags=["nbval-ignore-output"]
messages = run(DEMO, "--part", "messages", trace=True)


def sizes(trace):
    """The bytes of each send, and of each recv that took something."""
    received = [call.result for call in trace.named("recvfrom") if call.result and "MSG_PEEK" not in call.text]
    return [call.result for call in trace.named("sendto") if call.result], received


def draw(ax, title, sent, received):
    for row, numbers in enumerate((sent, received)):
        left = 0
        for number in numbers:
            ax.barh(row, number, left=left, color="0.85", edgecolor="black")
            ax.text(left + number / 2, row, number, ha="center", va="center")
            left += number
    ax.set_yticks([0, 1], ["sent", "received"])
    ax.invert_yaxis()
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_title(title, loc="left")
    ax.set_xlabel("bytes, a box for each call")


if exact(messages.trace):
    first, second = (call.time for call in messages.trace.named("socketpair"))
    stream = sizes(messages.trace.between(first, second))
    packets = sizes(messages.trace.between(second, messages.trace.end))
    _, axes = plt.subplots(1, 2, figsize=(9, 2.2), layout="constrained")
    draw(axes[0], "a stream", *stream)
    draw(axes[1], "seqpacket", *packets)

# %%
if exact(messages.trace):
    print("stream:   ", *stream)
    print("seqpacket:", *packets)
    compare(my_bytes, stream[1][0])
    assert stream == ([4, 4, 2, 4], [14])
    assert packets == ([3, 3, 5], [3, 3, 4])

# %% [markdown]
# The stream has forgotten where one send ended and the next began. Seqpacket has kept it, so strictly that the third
# message lost a byte: it was read with `recv(4)`, and the rest of a message that does not fit is thrown away.
#
# **A send takes what the buffer holds.** The next cell fills a pair from one side until the kernel says EAGAIN, with
# sends of different sizes. (It does so in this notebook's own process: nothing is forked.)


# %% tags=["nbval-ignore-output"]
def fill(size, buffer=None):
    """Send pieces of `size` bytes into a pair until no more fits: how many sends, how many bytes."""
    a, b = socket.socketpair()
    with a, b:
        if buffer:
            a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        a.setblocking(False)
        sent = []
        try:
            while True:
                sent.append(a.send(bytes(size)))
        except BlockingIOError:
            return len(sent), sum(sent)


pieces = [1, 16, 64, 256, 1024, 4096, 16384, 65536]
default, small = ([fill(size, buffer) for size in pieces] for buffer in (None, 16384))
_, ax = plt.subplots(figsize=(9, 3.5), layout="constrained")
ax.loglog(pieces, [total for _, total in default], "o-", color="black", label="SO_SNDBUF as it comes")
ax.loglog(pieces, [total for _, total in small], "s--", color="0.5", label="SO_SNDBUF set to 16384")
ax.set(xlabel="bytes in one send", ylabel="bytes that fit", xticks=pieces)
ax.minorticks_off()
for axis in (ax.xaxis, ax.yaxis):
    axis.set_major_formatter("{x:,.0f}")
ax.spines[["top", "right"]].set_visible(False)
ax.set_title("How much a socketpair holds before send would wait", loc="left")
ax.legend(frameon=False)
print(f"One byte at a time: {default[0][0]} sends. 64 KiB at a time: {default[-1][1]} bytes.")

# %%
assert default[0][1] < 1000 < default[-1][1]  # each small send costs a whole buffer of its own in the kernel
assert all(few[1] < many[1] for few, many in zip(small, default, strict=True))
print("One byte at a time, fewer than 1000 fit.")

# %% [markdown]
# Each send is kept in a piece of kernel memory of its own, whose housekeeping counts too. So a few hundred tiny
# messages fill a pair, as a few big ones do. Lab 05 comes back to this.
#
# ## 7. Break it
#
# **The parent keeps a copy of the child's end.** The pitfalls of this lab are run under a watchdog: when nothing has
# moved for half a second, it says so and ends them.

# %%
kept = run(PITFALLS, "no-end-of-file", trace=True)
kept_story = kept.trace.without(fds={0, 1, 2}, pids={kept.pid})  # without what they print, and without the watchdog
print(*[line for line in kept.output.splitlines() if line.startswith(("Symptom", "Cause", "Cure"))], sep="\n")
compare(my_last_recv, "nothing" if "watchdog: nothing has moved" in kept.output else "end of file")

# %% tags=["nbval-ignore-output"]
_, axes = plt.subplots(2, figsize=(9, 6.5), layout="constrained")
titles = ("reference: each closes the other's end", "pitfall: the parent keeps both")
for ax, trace, title in zip(axes, (story, kept_story), titles, strict=True):
    plot.descriptor_timeline(trace, ax, kinds={"socketpair"}, names=trace.names(), title=title)

# %%
if exact(story) and exact(kept_story):
    for ax, trace, title in zip(axes, (story, kept_story), titles, strict=True):
        end = last_to_close(ax.chatlab_rows, "socketpair b")
        print(f"{title}; b is closed last by", trace.names()[end["pid"]])
    parent = kept_story.processes[0]
    assert last_to_close(axes[1].chatlab_rows, "socketpair b")["pid"] == parent.pid
    assert parent.signal == "SIGKILL"  # it would wait still

# %% [markdown]
# Mind the scale: in the lower picture the child is gone after a moment. The parent waits for an end of file that only
# its own close could bring.
#
# **Both read first.** Each is polite, and waits for the other to begin.

# %% tags=["nbval-ignore-output"]
deadlock = run(PITFALLS, "both-listen", trace=True)
silent = deadlock.trace.without(fds={0, 1, 2}, pids={deadlock.pid})
ax = plot.sequence_chart(silent, names=silent.names(), title="Two processes, each waits for the other to speak")

# %%
print("processes that the watchdog had to end:", deadlock.output.count("watchdog: nothing has moved"))
assert deadlock.output.count("watchdog: nothing has moved") == 2
if exact(silent):
    given_up = deadlock.trace.named("kill")[0].time  # the watchdog ends the first of the two
    waiting = [call for call in silent.calls if call.time < given_up <= call.time + call.duration]
    for call in sorted(waiting, key=lambda call: call.fd):
        print(f"{silent.names()[call.pid]:8} waits in {call.name} on descriptor {call.fd}")
    assert sorted((call.name, call.fd) for call in waiting) == [("recvfrom", 3), ("recvfrom", 4)]

# %% [markdown]
# After the dots nobody sends anything. A deadlock has no error and no sign of its own: look at what each process waits
# in, and for whom.
#
# **Each recv is taken for a message.**

# %%
together = run(PITFALLS, "messages-run-together")
for name, program in (("reference", messages), ("pitfall", together)):
    print(f"{name:9}", *re.findall(r"stream, cut into messages: (.*)", program.output))
assert r"[b'one\ntwo\nthree\n']" in together.output

# %% [markdown]
# It works in a test, where each message is read before the next is sent, and breaks under load. The cure is to mark the
# messages, by a length or a delimiter, and to collect bytes until one is whole.
#
# Two more are in `python labs/02_socketpair/pitfalls.py`: *both-send* and *reset-instead-of-end*.
#
# ## 8. Your turn
#
# The exercises are in `labs/02_socketpair/exercises.py`. Open that file in the file browser at the left, or in your own
# editor, solve one, save, and run the cell below again.
#
# - **2.1** ask a child and get its answer, both ways on one pair
# - **2.2** receive exactly n bytes
# - **2.3** make a descriptor non-blocking with fcntl, and give back its old flags
# - **2.4** say what a recv brought: data, the end, would block, or an error
# - **2.5** frame messages by their length
# - **2.6** end a worker by closing
# - **2.7** hand an open connection to another process
# - **2.8** a pool of workers, put together from all of these

# %%
verdicts = check("2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8")

# %% [markdown]
# For a check that fails, run in a cell of your own
#
# ```python
# from chatlab import why
# why("2.1")
# ```
#
# It draws what your code did, and beside it what the reference does in the same check. In a terminal, `make check-2`
# judges, and `make hint EX=2.1` gives a hint.
#
# ## 9. Going further
#
# - Run `socketpair_demo.py --part hand-over` with `trace=True`, and find in `trace.descriptors` the one whose `how` is
#   `received`. Which process opened that pipe?
# - How does `both-send` look as a sequence chart? Both are in the middle of a send. Which buffer is full?
# - `labs/02_socketpair/README.md` tells each part at length, with the man pages and book chapters to read.

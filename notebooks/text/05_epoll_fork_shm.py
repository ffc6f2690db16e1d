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
# # 05 · epoll, fork and shared memory: a process for each client
#
# The chat server of lab 04 is one process. This one is as many as there are people, and one more. So Ann's words,
# which one process has received, must reach all the others, and be sent by each of them to its own client. Nothing is
# copied from one process to another for that: the words lie in memory that all of them share, and what the processes
# tell each other is only "look again". In this notebook you see a line on its way, look into that memory while the
# server runs, and find out what a process for each client costs.
#
# ## 1. Objectives
#
# After this notebook you can
#
# - follow a line through four processes, and say at each step what is copied, and by whom;
# - read the fields of a shared log while it is in use, and explain why a reader that stands still stops the room;
# - say what epoll tells you level-triggered and edge-triggered, and what you owe it in return;
# - say when a process for each client is worth its price, from figures of your own machine;
# - recognise the mistakes of the textbook's version by their pictures.
#
# Run the cells from top to bottom (Shift-Enter). The programs are those of `labs/05_epoll_fork_shm`; each runs for
# real, in processes of its own, and the people in the room are connections of this notebook. Times are new in every
# run. Without `strace` some cells have nothing to show, and say so.

# %%
# %config InlineBackend.figure_format = "retina"
import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

import numpy
from matplotlib import pyplot as plt

from chatlab import check, launch, load, plot, procfs, shm

SERVER, PITFALLS = (f"labs/05_epoll_fork_shm/{name}.py" for name in ("fork_shm_server", "pitfalls"))
STRACE = shutil.which("strace")
MISSING = "(not shown here: this needs strace, and make doctor tells how to get it)"

# %% [markdown]
# ## 2. Predict
#
# Put your answers into the next cell.
#
# 1. Three are in the room, so the server is four processes. Ann says a line, and the other two hear it. How many
#    system calls of the server carry its text: `3`, `5` or `9`?
# 2. 5000 bytes have arrived. A program is woken up by *edge-triggered* epoll, reads 1000 of them, and asks epoll
#    again. Nothing more arrives. How many bytes will it have read after a minute: `1000`, `2000` or `5000`?
# 3. The process that serves Cid is stopped, and Ann goes on talking. What does Bob notice: `"nothing"`, `"a pause"`,
#    or `"the end"`, that is, nothing more comes?

# %%
my_calls = 9  # 1: 3, 5 or 9
my_bytes = 5000  # 2: 1000, 2000 or 5000
my_frozen_reader = "nothing"  # 3: "nothing", "a pause" or "the end"


def compare(mine, seen):
    print("you guessed it:" if mine == seen else f"you guessed {mine!r}, and it is", repr(seen))


# %% [markdown]
# ## 3. Launch
#
# The people in the room. Each is known to be in it when the server has one child more, and all its processes have
# gone back to sleep.


# %%
def until(condition, seconds=20, every=0.002):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(every)


def lives(pid):
    process = procfs.stat(pid)
    return process is not None and process.state not in "ZX"


def children(server):
    return [pid for pid in procfs.children(server.pid) if lives(pid)]


def switches(pid):
    """How often the process has come to the processor: proc_pid_status(5)."""
    return sum(int(value) for key, value in procfs.status(pid).items() if key.endswith("ctxt_switches"))


def asleep(server, but=()):
    """Do all its processes sleep, and has none of them run while we looked? Those in `but` may be stopped."""

    def look():
        pids = {server.pid, *children(server)} - {*but}
        return [(pid, procfs.stat(pid), switches(pid)) for pid in sorted(pids)]

    before = look()
    return all(process and process.state == "S" for _, process, _ in before) and look() == before


class Person(load.Client):
    """A client. pid: of the process that serves it, once that is known."""

    def __init__(self, server):
        super().__init__(server.address, timeout=20)
        self.port, self.pid = self.socket.getsockname()[1], None

    def unheard(self):
        """Bytes that the server has not read yet; None when it has no end of the connection."""
        ports = self.address[1], self.port
        ends = [end for end in procfs.tcp_sockets(self.port) if (end.local[1], end.remote[1]) == ports]
        return ends[0].unread if ends else None


# %%
SLOTS, RING = 8, 131_072  # clients at most, and bytes for what each of them has said
OPTIONS = ("--max-clients", SLOTS, "--queue-bytes", RING)


@contextlib.contextmanager
def room(*program, people=3, options=OPTIONS, **how):
    """Launch a server, and let people in, one after the other: gives the server, `come`, and the list of people."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(launch(*program, "--port", "0", *options, **how))

        def come():
            before = children(server)
            person = stack.enter_context(Person(server))
            until(lambda: len(children(server)) > len(before))
            (person.pid,) = {*children(server)} - {*before}
            until(lambda: asleep(server))
            return person

        yield server, come, [come() for _ in range(people)]


with room(SERVER) as (server, come, (ann, bob, cid)):
    print("before the first line:", 1 + len(children(server)), "processes for", len(children(server)), "people")
    ann.send(b"welc")
    ann.send(b"ome\n")
    print("Bob hears", bob.read_line())
    print("Cid hears", cid.read_line())
    bob.reset()
    until(lambda: not lives(bob.pid))
    print("when Bob has gone:", 1 + len(children(server)), "processes")
    assert len(children(server)) == 2

# %% [markdown]
# ## 4. Trace
#
# One line, step by step, under `strace`. Before Ann speaks everybody sleeps; so all that follows is about her line.

# %%
with room(SERVER, trace=True) as (server, come, people):
    ann, bob, cid = people
    began = time.time()
    ann.send_line(b"hello")
    assert bob.read_line() == cid.read_line() == b"hello\n"
    until(lambda: asleep(server))
    ended = time.time()
    server.signal(signal.SIGTERM)
    print("exit status", server.wait())
PARENT, ANNS, BOBS, CIDS = PIDS = server.pid, ann.pid, bob.pid, cid.pid
WHO = dict(zip(PIDS, ("parent", "Ann's child", "Bob's child", "Cid's child"), strict=True))
whole = server.trace.quiet()
journey = whole.between(began - whole.start, ended - whole.start)


def words(call):
    text = re.search(r'"(.*?)"', call.text)
    return f"{call.name}({text[1] if text else ''}) → {call.error or call.result}"


if STRACE:
    moves = journey.named("recvfrom", "sendto", "sendmsg", "read", "write")
    for pid, who in WHO.items():
        print(f"{who:12}", *[words(call) for call in moves if call.pid == pid], sep="   ")
    carried = [call for call in moves if "hello" in call.text]
    print("calls that carry the text:", len(carried))
    assert [call.name for call in carried] == ["recvfrom", "sendmsg", "sendmsg"]
    compare(my_calls, len(carried))
else:
    print(MISSING)

# %% [markdown]
# (`words` cuts each call down to its text and its result.) Ann's child receives the line, and tells the parent `.`:
# look again. The parent tells all three `.`. Then Bob's and Cid's children send it, and nobody has told them what.
# (Without shared memory it would be nine calls: the parent would have to read the line, too, and to write it for each
# of the two, who would have to read it.) Between `recvfrom` and `sendmsg` the text is in no call. Where is it?
#
# In memory that was there before the first child, and that a fork does not copy, since it was made as shared:
# `mmap.mmap(-1, …)`. Of a running process `/proc/PID/mem` shows all memory, to those who may debug it. `chatlab.shm`
# reads it there, and knows the fields from the head of `shared_log.py`: which of them is where, and who writes it. To
# see the line lie there, stop the parent in the middle of its journey.


# %%
@contextlib.contextmanager
def stopped(*pids):
    """While the block runs these processes are stopped."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(procfs.stat(pid).state in "Tt" for pid in pids))
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


with room(SERVER) as (server, come, (ann, bob, cid)), shm.SharedMemory(server.pid, SLOTS, RING) as memory:
    slot = SLOTS - 1  # the first to come gets the last one
    before = memory.look()
    with stopped(server.pid):
        ann.send_line(b"hello")
        until(lambda: memory.look().slots[slot].said > before.slots[slot].said)
        look, said = memory.look(), before.slots[slot].said
        print("in Ann's ring:      ", memory.said(slot, said, look.slots[slot].said - said))
        print("entries in the log: ", look.ordered - before.ordered, "more than before")
        print("Bob has", len(bob.arrived()), "bytes")
        assert look.ordered == before.ordered and not bob.received
    print("and Bob hears", bob.read_line())
    look = memory.look()
    entry = memory.entry(look.ordered - 1)
    print(f"the log's new entry: {entry.length} bytes of slot {entry.slot}, from position {entry.position - said}")
    assert look.ordered == before.ordered + 1 and (entry.slot, entry.length) == (slot, 6)

# %% [markdown]
# The child has received straight into its client's *ring*, and has moved `said`, a position. That is all that a child
# ever writes about its client's words. For the others they are not there yet: that needs an *entry* in the log, and
# only the parent makes those. So everybody sees one order of lines, although many processes write at the same time.
# And no field is ever written by two.
#
# ## 5. Plot
#
# The journey as a sequence chart. An arrow is a write and the read that took it, as in the labs before. A dotted
# arrow is no call of its own: it says where the bytes of the call beside it went, or came from.

# %% tags=["nbval-ignore-output"]
arrows = journey.messages
if arrows:
    journey = journey.between(arrows[0].sent - 0.00002, max(one.received or one.sent for one in arrows) + 0.0001)
title = "The journey of a line, under strace"
zero = arrows[0].sent if arrows else None
ax = plot.sequence_chart(journey, names={**WHO, None: "clients"}, memory="shared memory", zero=zero, title=title)

# %%
if STRACE:
    rows = ax.chatlab_rows
    lines, bells = ([row for row in rows if row["via"] == via] for via in ("tcp", "socketpair"))
    print("lines:", [(row["size"], row["memory"]) for row in lines])
    print("bells:", [row["size"] for row in bells])
    assert [row["memory"] for row in lines] == ["into", "out of", "out of"]
    assert (bells[0]["source"], bells[0]["target"]) == (ANNS, PARENT)
    assert {row["target"] for row in bells[1:]} == {ANNS, BOBS, CIDS}
    assert lines[0]["received"] <= bells[0]["sent"] <= bells[0]["received"] <= bells[1]["sent"]
    for row in lines[1:]:
        (rung,) = (bell["received"] for bell in bells if bell["target"] == row["source"])
        assert rung <= row["sent"]
else:
    print(MISSING)

# %% [markdown]
# Four bytes pass the parent, for a line of any length: one from Ann's child, and one to each child. (To Ann's, too:
# it has to step over its own words.) The line itself never comes near it. `recvfrom` has copied it out of the kernel
# into shared memory, once for all, and each send copies it into the kernel again, as any server's must. Between the
# processes nothing is copied.
#
# Do not take the microseconds for those of the server: strace stops a process twice in every call, and prints. How
# long does it really take? The clock of the next cell runs from Ann's send until Bob and Cid have both heard.


# %% tags=["nbval-ignore-output"]
def seconds_to_all(people, lines):
    found = []
    for number in range(lines):
        began = time.perf_counter()
        people[0].send(b"line %d\n" % number)
        assert all(person.read_line() == b"line %d\n" % number for person in people[1:])
        found.append(time.perf_counter() - began)
    return found


for label, traced in (("the server alone:", False), ("under strace:", True)):
    if traced and not STRACE:
        continue
    with room(SERVER, trace=traced) as (_, _, people):
        seconds = seconds_to_all(people, lines=20 if traced else 200)
    print(f"{label:17} half of the lines within {numpy.median(seconds) * 1e6:.0f} µs")

# %% [markdown]
# **What is open, as the room fills.** A fork copies the whole descriptor table. So the third child begins with a copy
# of the listener, of the parent's epoll, and of the bells of both of its siblings; and closes them at once.

# %% tags=["nbval-ignore-output"]
KINDS = {"listener", "epoll", "socketpair", "tcp"}
shown, title = whole.without(pids={ANNS, BOBS}), "Three people come: the parent, and the third child"
opened = [record.opened for record in whole.descriptors if record.kind == "listener"]
own = [one.opened for one in shown.descriptors if (one.pid, one.kind, one.how) == (CIDS, "epoll", "open")]
if own:
    shown = shown.between(min(opened) - 0.001, own[0] + 0.004)
ax = plot.descriptor_timeline(shown, kinds=KINDS, names=WHO, title=title)

# %%
if STRACE:
    rows = ax.chatlab_rows
    of_cid = [row for row in rows if row["pid"] == CIDS]
    copied, kept = (
        sorted(re.sub(r" .*", "", row["name"]) for row in found)
        for found in (
            [row for row in of_cid if row["how"] == "fork"],
            [row for row in of_cid if row["closed"] is None or row["closed"] > own[0]],
        )
    )
    print("copied by the fork:", *copied)
    print("in use afterwards: ", *kept)
    assert copied == ["epoll", "listener", *["socketpair"] * 4, "tcp"] and kept == ["epoll", "socketpair", "tcp"]
    parents = [row["kind"] for row in rows if row["pid"] == PARENT and row["closed"] > own[0] + 0.004]
    assert "tcp" not in parents
else:
    print(MISSING)

# %% [markdown]
# The parent closes each connection as soon as there is a child for it, or the client would never see its end (lab
# 01). What stays is a bell for each child. (The last pair is for somebody who has not come yet: it is made before the
# accept, so that whoever is accepted can also be served.) And each child ends up with three, no matter how many are
# in the room: its client, its bell, and an epoll of its own for the two.

# %% [markdown]
# **The ring and its readers.** Ann says 1 MB a second, and Bob and Cid read all of it, until the process that serves
# Cid is stopped. Every two milliseconds this notebook looks into the memory. The server does not notice that it is
# looked at.

# %%
STALL_SECONDS = 1.0  # --stall-seconds: so long others wait for somebody who takes nothing
BATCH, BATCH_SECONDS = (b"x" * 999 + b"\n") * 4, 0.004  # what Ann says, and how often
FROZEN_AFTER, GOES_ON_FOR = 0.4, 0.4  # s: since the beginning; since Cid's eviction
NAMES = {SLOTS - 1: "Ann", SLOTS - 2: "Bob", SLOTS - 3: "Cid"}  # by slot: the first to come gets the last one


def freeze_a_reader():
    """Returns the server, ended, looks into its memory, [(s, bytes that Bob has)], and when Cid's child was stopped."""
    with (
        room(SERVER, options=(*OPTIONS, "--stall-seconds", STALL_SECONDS)) as (server, _, (ann, bob, cid)),
        shm.SharedMemory(server.pid, SLOTS, RING) as memory,
    ):
        for person in (ann, bob, cid):
            person.socket.setblocking(False)
        looks, heard, frozen, evicted = [memory.look()], [(time.time(), 0)], None, None
        began = due = time.time()
        left = b""
        while evicted is None or heard[-1][0] < evicted + GOES_ON_FOR:
            readers = [bob.socket] if evicted else [bob.socket, cid.socket]
            readable, writable, _ = select.select(readers, [ann.socket] if left else [], [], 0.002)
            now = time.time()
            if bob.socket in readable:
                heard.append((now, heard[-1][1] + len(bob.socket.recv(2**18))))
            if cid.socket in readable:
                with contextlib.suppress(ConnectionResetError):
                    cid.socket.recv(2**18)
            if writable:
                left = left[ann.socket.send(left) :]
            if not left and now >= due:
                left, due = BATCH, max(due + BATCH_SECONDS, now - 0.05)  # who had to wait does not catch up for long
            if frozen is None and now > began + FROZEN_AFTER:
                os.kill(cid.pid, signal.SIGSTOP)
                frozen = now
            looks.append(memory.look())
            if evicted is None and looks[-1].slots[SLOTS - 3].cursor is None:
                evicted = now
            assert now < began + 30, "nobody is evicted"
        return server, looks, numpy.array(heard), frozen


server, looks, heard, frozen = freeze_a_reader()
print("the server's log:", re.sub(r"[\d.]+:\d+", "Cid", server.log).strip())
assert server.log.count("evicted") == 1

# %% tags=["nbval-ignore-output"]
began = looks[0].time
at = numpy.array([look.time - began for look in looks])
held = numpy.array([look.slots[SLOTS - 1].held for look in looks]) / 1000
cursors = {who: [look.slots[slot].cursor for look in looks] for slot, who in NAMES.items()}
evicted = at[cursors["Cid"].index(None)]
figure, (above, below) = plt.subplots(2, 1, figsize=(9, 5.4), layout="constrained", sharex=True)
(occupied,) = above.step(at, held, where="post", color="black", linewidth=1.2)
above.axhline(RING / 1000, color="black", linestyle="--", linewidth=0.8)
above.annotate("the whole ring", (0, RING / 1000), ha="left", va="top", size=8)
above.set(ylabel="kB", ylim=(0, RING / 1000 * 1.2))
above.set_title("Ann's ring: what may not be written over yet", loc="left")
below.plot(at, [look.ordered for look in looks], color="0.8", linewidth=6, label="entries in the log")
drawn = {}
for who, style, color, width in (("Cid", "-", "0.45", 3.5), ("Bob", "-", "black", 1.2)):
    read = [numpy.nan if cursor is None else cursor for cursor in cursors[who]]
    (drawn[who],) = below.plot(at, read, style, color=color, linewidth=width, label=f"read by {who}'s child")
below.step(at, [look.freed for look in looks], ":", where="post", color="black", label="read by all, and given back")
below.plot(evicted, cursors["Cid"][int(numpy.searchsorted(at, evicted)) - 1], "X", color="black", markersize=8)
below.set(xlabel="time (s)", ylabel="entries", ylim=(0, None))
below.set_title("The log, and how far each reader has come", loc="left")
below.legend(frameon=False, loc="lower right", fontsize=8)
for ax in (above, below):
    ax.spines[["top", "right"]].set_visible(False)
    for when, said, side in ((frozen - began, "Cid's child is stopped ", "right"), (evicted, " it is evicted", "left")):
        ax.axvline(when, color="black", linestyle=":", linewidth=1)
        if ax is above:
            ax.annotate(said, (when, RING / 1000 * 1.1), ha=side, size=8)

# %%
pause = numpy.diff(heard[:, 0]).max()
compare(my_frozen_reader, "a pause" if STALL_SECONDS / 2 < pause < 10 else "nothing")
last = cursors["Cid"].index(None) - 1  # the last look before he was evicted
late = (at > at[last] - STALL_SECONDS / 2) & (at <= at[last])
print("while others wait for Cid, of the ring are taken:", f"{held[late].min() * 1000 / RING:.0%}")
assert occupied.get_ydata().max() * 1000 <= RING and held[late].min() * 1000 > RING * 0.9
of_cid, of_bob = (drawn[who].get_ydata()[late] for who in ("Cid", "Bob"))
assert min(of_cid) == max(of_cid) < of_bob[-1] <= looks[last].ordered
assert heard[-1, 0] - began > evicted

# %% [markdown]
# Look at the lower picture first. The log grows, and the cursors follow it. Nobody may be overtaken: what all have
# read is the least of the cursors, and only behind that line may Ann's child write again. The parent moves that line
# when half of some ring is in use, hence the saw's teeth above.
#
# Then a reader stands still. It need not be a bad one: its machine may be asleep, or its process be stopped, as here.
# The line cannot move. Ann's ring fills up, and when it is full her child reads her no more; TCP makes her wait. Bob
# has read all that there is, and hears nothing. That is what the server's patience costs him: so long as others
# *wait* for somebody, and it does not move at all, its time runs, and after `--stall-seconds` it is evicted. SIGKILL
# ends a stopped process as well. Had the parent not waited for the end of that process before it moved the line, then
# it could have been thawed, and have sent what lies there now instead of what lay there before.
#
# ## 6. Explain
#
# **Level and edge.** epoll can tell you two things. *Level-triggered*, as poll does: there is something to read.
# *Edge-triggered*: something has come. See the difference in a program of a few lines, to which 5000 bytes come, then
# 500, and 500 again. At each wake-up it reads 1000 bytes once, or reads until EAGAIN.

# %%
ARRIVALS, READ_BYTES = (5000, 500, 500), 1000


def unread(sock):
    """Bytes that a recv would find: FIONREAD, ioctl_tty(2)."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]


def read_on(mode, drain):
    """Returns for each arrival the bytes unread: at once, and after each wake-up; and the number of recvs."""
    mine, theirs = socket.socketpair()
    left, reads = [], 0
    with mine, theirs, select.epoll() as poller:
        mine.setblocking(False)
        poller.register(mine, select.EPOLLIN | mode)
        for size in ARRIVALS:
            theirs.send(bytes(size))
            left.append([unread(mine)])
            while poller.poll(0):  # 0: do not wait, if there is nothing to tell
                with contextlib.suppress(BlockingIOError):
                    reads += 1
                    while mine.recv(READ_BYTES) and drain:
                        reads += 1
                left[-1].append(unread(mine))
    return left, reads


WAYS = {
    "level-triggered, one recv": read_on(0, drain=False),
    "edge-triggered, one recv": read_on(select.EPOLLET, drain=False),
    "edge-triggered, until EAGAIN": read_on(select.EPOLLET, drain=True),
}
for way, (left, reads) in WAYS.items():
    wakes = sum(len(found) - 1 for found in left)
    print(f"{way:29} {wakes} wake-ups, {reads:2} recvs, {left[-1][-1]} bytes left")
left, _ = WAYS["edge-triggered, one recv"]
compare(my_bytes, left[0][0] - left[0][-1])

# %%
_, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained", sharey=True)
dots = {}
for ax, (way, (left, _)) in zip(axes, WAYS.items(), strict=True):
    y = [bytes_left for found in left for bytes_left in found]
    starts = numpy.cumsum([0, *map(len, left[:-1])])
    ax.step(range(len(y)), y, where="post", color="0.6")
    x = [one for one in range(len(y)) if one not in starts]
    (dots[way],) = ax.plot(x, [y[one] for one in x], "o", color="black", markersize=5, label="a wake-up")
    ax.plot(starts, [y[one] for one in starts], "v", color="black", markerfacecolor="white", label="bytes come")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_title(way, loc="left", size=9)
    ax.set_xticks([])
    ax.set(xlabel="what happens, in its order")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("bytes left unread")
_ = axes[0].legend(frameon=False, fontsize=8)

# %%
wakes = {way: len(line.get_ydata()) for way, line in dots.items()}
print("wake-ups:", *wakes.values(), "  left at the end:", *[int(line.get_ydata()[-1]) for line in dots.values()])
assert [line.get_ydata()[-1] for line in dots.values()] == [0, 3000, 0] and [*wakes.values()] == [7, 3, 3]

# %% [markdown]
# In the middle is the mistake. Each arrival wakes it once, it reads once, and is 4000 bytes behind from then on; if
# nothing more comes it sleeps beside them for ever. With edge-triggered epoll you owe a read until EAGAIN (or until a
# recv brings less than you have room for). That saves wake-ups, and costs a recv each time.
#
# The server of this lab is level-triggered, and for a reason. Its ring can be full, so that it *cannot* read until
# EAGAIN. Then it asks for EPOLLIN no more, until there is room; asked again, level-triggered epoll tells again.
# Edge-triggered, it would itself have to remember what it has left undone.
#
# **What a process for each client costs.** Three servers, with rooms of 10, 100 and 1000: this one, lab 04's, and one
# on asyncio. First 100 lines a second, and how late they are; and how often a process of the server is woken up for
# each of them. Then as many lines as the server takes. Then the memory that its processes have for themselves.

# %%
COMPARED = {
    "lab 05": SERVER,
    "lab 04": "labs/04_poll_server/poll_server.py",
    "asyncio": "benchmarks/peers/asyncio_protocol.py",
}
LINES = {10: 10_000, 100: 4_000, 1000: 2_000}  # clients in the room: lines in which it shows how much it takes
ROOMS, RATE, SECONDS = [*LINES], 100, 0.3


def private_bytes(pid):
    """Memory that the process has for itself."""
    memory = procfs.memory(pid)
    return memory["Private_Clean"] + memory["Private_Dirty"]


def measure(program, clients):
    """Returns deliveries per second, p99 in s, wake-ups for each line, and private bytes of all its processes."""
    with launch(program, "--port", "0") as server, load.Room(server.address, clients) as people:
        processes = [server.pid, *children(server)]
        before = sum(map(switches, processes))
        steady = people.fixed_rate(RATE, SECONDS).require()
        woken = (sum(map(switches, processes)) - before) / (RATE * SECONDS)
        most = people.closed_loop(lines=LINES[clients]).require()
        return most.deliveries_per_second, steady.p99, woken, sum(map(private_bytes, processes))


*SMALL, BIG = ROOMS
costs = {(name, clients): measure(program, clients) for clients in SMALL for name, program in COMPARED.items()}
print("every line whole, once, in order, to all but its sender, in", len(costs), "rooms")

# %%
costs |= {(name, BIG): measure(program, BIG) for name, program in COMPARED.items()}
print("… and in", len(costs) - len(SMALL) * len(COMPARED), "rooms of", BIG)

# %% tags=["nbval-ignore-output"]
TITLES = (
    "Millions of deliveries per second",
    "99 % come within (ms)",
    "Wake-ups for each line",
    "Memory of its own (MB)",
)
LOOKS = {"lab 05": ("o-", "black"), "lab 04": ("s--", "0.35"), "asyncio": ("^:", "0.35")}
figure, axes = plt.subplots(2, 2, figsize=(9, 5.4), layout="constrained", sharex=True)
points = {}
for column, (ax, title, factor) in enumerate(zip(axes.flat, TITLES, (1e-6, 1000, 1, 1e-6), strict=True)):
    for name, (style, color) in LOOKS.items():
        values = [costs[name, clients][column] * factor for clients in ROOMS]
        points[title, name] = ax.plot(ROOMS, values, style, color=color, linewidth=1.8, label=name)[0]
        print(f"{title:34} {name:8}", *[f"{value:9,.2f}" for value in values])
    ax.set(xscale="log", yscale="log", xlim=(8, 1250))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_title(title, loc="left", size=10)
    ax.set_xticks(ROOMS, ROOMS)
    ax.minorticks_off()
    ax.grid(axis="y", color="0.93")
    ax.spines[["top", "right"]].set_visible(False)
for ax in axes[1]:
    ax.set_xlabel("clients in the room")
_ = figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, handlelength=4)

# %%
for (title, name), line in points.items():
    assert len(line.get_ydata()) == len(ROOMS) and min(line.get_ydata()) > 0, (title, name)
each = (costs["lab 05", 1000][3] - costs["lab 05", 10][3]) / 990
print("memory of its own for each child: less than 2 MB:", each < 2_000_000)
assert each < 2_000_000 and costs["lab 05", 100][2] > 3 * costs["lab 04", 100][2]

# %% [markdown]
# The honest conclusion: **for a chat, a process for each client does not pay.** A line to 100 people wakes up
# processes some 150 times, and in the others a few times: one process that is awake anyway sends to everybody. That
# shows first in the latency. With 1000 people, 100 lines a second are more wake-ups than two cores have, and a line
# that lab 04 delivered in 16 ms took 260 here (99 %, where this was written, on two cores with some other work). It
# shows in the memory too: 1.4 MB for each child. The fork copies nothing, but an interpreter cannot read an object
# without writing to it (its reference count), and each page that it writes to is copied.
#
# Under full load it looks better than you may have thought. In that run it made 4 to 5 million deliveries a second
# with 100 people and with 1000: twice as many as asyncio, and a fifth of lab 04's. The more there is to do, the more
# lines does each child find when it wakes up, and it sends them all at once; bells are merged, and a wake-up serves
# many lines. Hence the bend in the third picture. But if your machine is busy with other things, your figures will be
# worse: 1000 processes have to wait their turn 1000 times.
#
# So what is a process for each client good for? For work: when what is done for *one* client takes time (to compress,
# to encrypt, to ask a database), then nobody else waits for that, and all processors can take part. And for walls
# between the clients:
#
# **What it buys.** First Bob's process is killed, and then the parent, while Cid's process is stopped.

# %%
with room(SERVER) as (server, come, (ann, bob, cid)):
    os.kill(bob.pid, signal.SIGKILL)
    print("Bob's process is killed. Bob's connection ends by:", bob.ended())
    ann.send_line(b"what was that?")
    print("Cid hears", cid.read_line())
    os.kill(cid.pid, signal.SIGSTOP)
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not any(map(lives, (server.pid, ann.pid, bob.pid, cid.pid))))
    print("The parent is killed. None of its processes is left. Cid's connection ends by:", cid.ended())
    assert bob.how_ended == cid.how_ended == "reset" and ann.ended() in ("end of file", "reset")

# %% [markdown]
# In lab 04 a mistake that ends the server ends it for everybody; here a child takes nobody along but its own client.
# Even the end of the parent is tidy. Its bells end with it, so the children end too. One that is stopped cannot
# notice; the kernel kills it (PR_SET_PDEATHSIG). (For Ann's process both is true, and either may come first: her
# connection ends in good order, or by a reset.) The memory had no name. So nothing is left behind.
#
# ## 7. Break it
#
# Each program in `pitfalls.py` is the server with one small step replaced; most of these steps are in the textbook's
# version. Here each plays a scene, and the reference plays it too. A scene says of each newcomer, line or process
# whether it was as it should be. The first ones are about epoll and fork.


# %%
def waiting_at_the_door(server, come, people, program):
    """Five come at once: how many get in?"""
    with contextlib.ExitStack() as stack:
        with stopped(server.pid):
            for _ in range(5):
                stack.enter_context(Person(server))
        until(lambda: asleep(server))
        yield from (number < len(children(server)) - len(people) for number in range(5))


def closed_to_newcomers(server, come, people, program):
    """Five come, one after the other: how many get in?"""
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(Person(server))
            until(lambda: asleep(server))
        yield from (number < len(children(server)) - len(people) for number in range(5))


def half_a_speech(server, come, people, program):
    """Ann says 20 long lines at once: what does Bob hear, while she says nothing more?"""
    ann, bob, _ = people
    lines = [b"%d %s\n" % (number, b"x" * 5000) for number in range(20)]
    with stopped(ann.pid):
        ann.send(b"".join(lines))
        until(lambda: ann.unheard() == sum(map(len, lines)))
    until(lambda: asleep(server))
    heard = bob.arrived()
    yield from (line in heard for line in lines)


# %%
def busy_with_a_full_ring(server, come, people, program):
    """Cid's process is stopped until Ann's ring is full: at each of 20 looks, does hers sleep?"""
    ann, _, cid = people
    with stopped(cid.pid), shm.SharedMemory(server.pid, SLOTS, RING) as memory:
        ann.send((b"x" * 999 + b"\n") * 200)
        until(lambda: memory.look().slots[SLOTS - 1].held > RING - 1001)
        until(lambda: program != (SERVER,) or asleep(server, but=[cid.pid]))
        for _ in range(20):
            time.sleep(0.002)
            yield procfs.stat(ann.pid).state == "S"


# %%
def no_end_of_file(server, come, people, program):
    """The processes are killed, one by one: does the client learn of it?"""
    for person in people:
        os.kill(person.pid, signal.SIGKILL)
        until(lambda person=person: not lives(person.pid))
        yield bool(select.select([person.socket], [], [], 10 if program == (SERVER,) else 0.1)[0])


def orphans_live_on(server, come, people, program):
    """The parent is killed: have the children ended?"""
    os.kill(server.pid, signal.SIGKILL)
    with contextlib.suppress(AssertionError):
        until(lambda: not any(lives(person.pid) for person in people), seconds=20 if program == (SERVER,) else 0.3)
    yield from (not lives(person.pid) for person in people)


def told_twice(server, come, people, program):
    """Each line that the server has printed when all is over: is it new?"""
    for person in people:
        person.reset()
        until(lambda person=person: not lives(person.pid))
    server.signal(signal.SIGTERM)
    server.wait()
    printed = server.output.splitlines()
    yield from (line not in printed[:number] for number, line in enumerate(printed))


# %%
EPOLL_AND_FORK = {
    waiting_at_the_door: "five come at once: is in",
    closed_to_newcomers: "five come, one by one: is in",
    half_a_speech: "a line of a long speech: heard",
    busy_with_a_full_ring: "a look at who has a full ring: asleep",
    no_end_of_file: "its process has ended: client told",
    orphans_live_on: "the parent is killed: child ends too",
    told_twice: "a line of standard output: new",
}
HOW = {
    "options": (*OPTIONS, "--stall-seconds", 4),  # who is stopped here for a moment is not evicted
    "env": {"CHATLAB_SEGMENT": f"chatlab-notebook-{os.getpid()}"},  # for the pitfall whose memory has a name
}


def name_of(scene):
    return scene.__name__.replace("_", "-")


def play(scenes):
    """Returns (name, "reference" or "pitfall") → what was as it should be."""
    came = {}
    for scene in scenes:
        name, people = name_of(scene), 1 if scene is closed_to_newcomers else 3
        for who, program in (("reference", (SERVER,)), ("pitfall", (PITFALLS, name))):
            with room(*program, people=people, **HOW) as (server, come, people_in):
                came[name, who] = list(scene(server, come, people_in, program))
    assert all(came[name, "reference"] and all(came[name, "reference"]) for name, _ in came)
    assert not any(all(came[name, "pitfall"]) for name, _ in came)
    return came


came = play(EPOLL_AND_FORK)
print("reference: all as it should be, in", len(EPOLL_AND_FORK), "scenes")


# %% tags=["nbval-ignore-output"]
def draw(came, scenes, title):
    """A row of boxes for each program; returns the boxes."""
    _, ax = plt.subplots(figsize=(9, 0.7 * len(scenes) + 0.5), layout="constrained")
    boxes = {}
    for place, (scene, words) in enumerate(scenes.items()):
        name = name_of(scene)
        for y, who in ((3 * place, "reference"), (3 * place + 1, "pitfall")):
            fills = ["black" if one else "white" for one in came.get((name, who), ())]
            boxes[name, who] = ax.scatter(range(len(fills)), [y] * len(fills), s=42, marker="s", c=fills, ec="black")
            ax.text(len(fills), y, f"{fills.count('black')} of {len(fills)}", size=8, va="center")
            ax.text(-1, y, who, size=8, va="center", ha="right")
        ax.text(-4.5, 3 * place, name, size=9, weight="bold", va="center", ha="right")
        ax.text(-4.5, 3 * place + 1, words, size=8, va="center", ha="right")
    ax.set(xlim=(-18, 24), ylim=(3 * len(scenes) - 1.2, -1), yticks=[], xticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(title, loc="left")
    return boxes


boxes = draw(came, EPOLL_AND_FORK, "epoll and fork: what was as it should be (black)")


# %%
def black(boxes):
    return {key: int((drawn.get_facecolors()[:, 0] == 0).sum()) for key, drawn in boxes.items()}


assert black(boxes) == {key: sum(each) for key, each in came.items()}
print("rows that are black from end to end:", sum(all(each) for each in came.values()), "of", len(came))

# %% [markdown]
# Two of them need a word. *no-end-of-file*: a connection ends when the last descriptor of it is closed, and the
# parent's copy counts, and that of every sibling that was forked later. *told-twice*: an `exit` in the child writes
# out its copy of what the parent had printed, and had not yet written (lab 01; that is where `os._exit` comes from).
#
# Now the scenes about shared memory and the bells between the processes.


# %%
def two_rooms_in_one(server, come, people, program):
    """20 lines are said in another server's room: each should not be heard in this one."""
    _, bob, _ = people
    with room(*program, people=2, **HOW) as (_, _, (dan, eve)):
        lines = [b"among ourselves %d\n" % number for number in range(20)]
        for line in lines:
            dan.send(line)
            assert eve.read_line() == line
        with stopped(server.pid):
            bob.send_line(b"is anybody there?")
            until(lambda: bob.unheard() == 0 and procfs.stat(bob.pid).state == "S")
            heard = bob.arrived()
            yield from (line not in heard for line in lines)


def old_words_behind_the_new(server, come, people, program):
    """Does each line come alone?"""
    ann, bob, _ = people
    for number in range(20):
        ann.send(b"hello %d\n" % number)
        until(lambda: asleep(server))
        came = bob.read_exactly(len(bob.arrived()))
        yield came == b"hello %d\n" % number


def thousand_lines(server, ann, bob, cid, stop):
    """Ann says 1000 lines of 1 kB. Cid reads late, or is served late: are they right, 50 at a time?"""
    lines = [b"%08d" % number * 127 + b"%07d\n" % number for number in range(1000)]
    total = b"".join(lines)
    speaker = threading.Thread(target=ann.send, args=(total,))
    with stopped(*stop):
        speaker.start()
        until(lambda: len(bob.arrived()) == len(total) or ann.unheard() and asleep(server, but=stop))
    until(lambda: bob.arrived() and len(cid.arrived()) == len(total))
    speaker.join()
    heard = {*cid.arrived().splitlines(keepends=True)}
    yield from (all(line in heard for line in lines[start : start + 50]) for start in range(0, 1000, 50))


def written_over(server, come, people, program):
    yield from thousand_lines(server, *people, stop=[people[2].pid])


def read_but_not_sent(server, come, people, program):
    yield from thousand_lines(server, *people, stop=[])


# %%
def two_in_one_slot(server, come, people, program):
    """Ann leaves, and Dan comes. Is Cid, who has been there all the time, still heard?"""
    ann, bob, cid = people
    ann.reset()
    until(lambda: not lives(ann.pid) and asleep(server))
    dan = come()
    for number in range(10):
        cid.send(b"I am still here %d\n" % number)
        until(lambda: cid.unheard() == 0 and asleep(server))
    dan.send_line(b"the end")
    heard = bob.read_until(b"the end")
    yield from (b"I am still here %d\n" % number in heard for number in range(10))


def frozen_at_the_bell(server, come, people, program):
    """Cid's process is stopped, and Ann says 500 lines, one by one: does Bob hear them, 25 at a time?"""
    ann, bob, cid = people
    heard, lines = 0, [b"line %d\n" % number for number in range(500)]
    with stopped(cid.pid):
        for line in lines:
            ann.send(line)
            until(lambda: bob.arrived() or (procfs.waits_in(server.pid) or [""])[0] == "sendto")
            if not bob.arrived():
                break
            heard += bob.read_line() == line
    yield from (start + 25 <= heard for start in range(0, 500, 25))


# %%
HOLD_SECONDS = 0.3


def heard_too_late(server, come, people, program):
    """strace holds the parent up before it takes a bell, and Ann says more meanwhile: is all of it heard at once?"""
    ann, bob, _ = people
    inject = f"inject=recvfrom:delay_enter={HOLD_SECONDS * 1e6:.0f}"
    with subprocess.Popen([STRACE, "-qq", "-o", "/dev/null", "-e", inject, "-p", str(server.pid)]) as strace:
        until(lambda: procfs.tracer(server.pid) and asleep(server))
        held = False
        while not held:  # on a busy machine the time may be over too soon
            began = time.monotonic()
            ann.send_line(b"one")
            until(lambda: (procfs.waits_in(server.pid) or [""])[0] == "recvfrom")
            ann.send_line(b"two")
            until(lambda: ann.unheard() == 0 and procfs.stat(ann.pid).state == "S")
            held = time.monotonic() < began + HOLD_SECONDS
            until(lambda: b"\n" in bob.arrived() and asleep(server))
            heard = bob.arrived()
            ann.send_line(b"the end")
            bob.read_until(b"the end")
        strace.terminate()
    yield from (line in heard for line in (b"one\n", b"two\n"))


# %%
MEMORY_AND_BELLS = {
    two_rooms_in_one: "said in another room: not heard here",
    old_words_behind_the_new: "a line: comes alone",
    written_over: "50 lines, served late: heard",
    read_but_not_sent: "50 lines, read late: heard",
    two_in_one_slot: "said when others left and came: heard",
    frozen_at_the_bell: "25 lines beside a stopped child: heard",
    heard_too_late: "said while the parent looks: heard",
}
if not STRACE:
    del MEMORY_AND_BELLS[heard_too_late]
came = play(MEMORY_AND_BELLS)
Path("/dev/shm", HOW["env"]["CHATLAB_SEGMENT"]).unlink(missing_ok=True)
print("reference: all as it should be, in", len(MEMORY_AND_BELLS), "scenes")

# %% tags=["nbval-ignore-output"]
boxes = draw(came, MEMORY_AND_BELLS, "Shared memory and bells: what was as it should be (black)")

# %%
assert black(boxes) == {key: sum(each) for key, each in came.items()}
print("rows that are black from end to end:", sum(all(each) for each in came.values()), "of", len(came))

# %% [markdown]
# *written-over* and *read-but-not-sent* are the same loss, once by the writer and once by the reader: what one
# process takes for done, another one has still before it. *two-in-one-slot*: the parent has tidied up its table, and
# the child goes on with the number that it was born with. *two-rooms-in-one* is a shared memory with a name: whoever
# knows the name is in, a second server just as well as a stranger on the same machine.
#
# The last two are about bells. About 277 of them fill a socketpair; so who *must* ring has to wait, for somebody who
# may be stopped. And *heard-too-late* is one line in the wrong place: first look, and then take the bells. It goes
# wrong when a bell comes between the two, which strace makes certain here by a long delay before that `recv`; without
# it you may wait for days. Take the bells, and then look: a bell that comes in between is heard next time.
#
# One mistake is missing: a counter that two processes add to, or that `struct.pack_into` writes. Exercise 5.4 is
# about it. All fourteen are in `python labs/05_epoll_fork_shm/pitfalls.py`, each with its symptom, its cause and its
# cure.
#
# ## 8. Your turn
#
# The exercises are in `labs/05_epoll_fork_shm/exercises.py`. Open that file in the file browser at the left, or in
# your own editor, solve one, save, and run the cells below again.
#
# - **5.1** turn a poll loop into an epoll loop
# - **5.2** drain an edge-triggered socket
# - **5.3** lose a line of the one-slot version for certain, by a schedule of freezes
# - **5.4** a shared counter that loses no updates
# - **5.5** write and read a ring that wraps around
# - **5.6** notice a read that was torn or overrun, by sequence numbers
# - **5.7** give slots away again, with generations
# - **5.8** close in the child what is not its own
# - **5.9** merge doorbells, and lose none
# - **5.10** a chat server of your own, a process for each client, put together from these

# %%
verdicts = check("5.1", "5.2", "5.3", "5.4", "5.5")

# %%
verdicts += check("5.6", "5.7", "5.8", "5.9", "5.10")

# %% [markdown]
# For a check that fails, run in a cell of your own
#
# ```python
# from chatlab import why
# why("5.9")
# ```
#
# It draws what your code did, and beside it what the reference does in the same check. In a terminal, `make check-5`
# judges, and `make hint EX=5.9` gives a hint.
#
# ## 9. Going further
#
# - Your own server is `labs/05_epoll_fork_shm/exercises.py`. Put it in the place of `SERVER` in `COMPARED`, and hold
#   its points beside the reference's.
# - In `freeze_a_reader` send SIGCONT to Cid's process after 0.3 s, before its time is up. What do his cursor and
#   Ann's ring do then, and does anybody miss a line?
# - Look at a room of your own: `make chat SERVER=labs/05_epoll_fork_shm/fork_shm_server.py` in one terminal, `pstree
#   -p` and `ls -l /proc/PID/fd` in another, and `shm.SharedMemory(PID, 1024, 2**20).look().readers` here.
# - A line wakes up every process in the room. What would change if the parent waited a millisecond, and rang once for
#   all that was said meanwhile? Try it: one line in `turn` of the server.
# - `labs/05_epoll_fork_shm/README.md` tells each part at length, with the man pages and book chapters to read.
# - Next: lab 06. There the server also hears signals: children that end, ^C, and a stop in good order.

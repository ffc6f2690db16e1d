"""The benchmark: every peer loses nothing, a small run tells and keeps its figures, and trouble is one line each."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from benchmarks import page, run, servers, tables
from benchmarks.figures import FIGURES, against_clients
from benchmarks.measure import QUICK, Fault, Plan, Sample, measure, steps, visits
from benchmarks.results import FIRST_LINE, MEMORY, P99, PRIVATE, RATE, TARGETS, Results, Target
from benchmarks.servers import FORKS, PEERS, REFERENCE, ROOT, BenchError, Server
from chatlab import load, procfs
from chatlab.launch.program import scale
from tests.kit.command import LIMIT_SECONDS, chatlab, started
from tests.kit.waiting import alive, until

SMALL = ("--quick", "--clients", "10", "--no-pin")

# Wrong servers. Each listens on the port that it is given.
FRONT = """
import selectors, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
clients = []
def serve(handle):
    watch = selectors.DefaultSelector()
    watch.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in watch.select():
            if key.fileobj is listener:
                clients.append(listener.accept()[0])
                watch.register(clients[-1], selectors.EVENT_READ)
            elif data := key.fileobj.recv(65536):
                handle(key.fileobj, data)
            else:
                clients.remove(key.fileobj)
                watch.unregister(key.fileobj)
"""
ECHOING = "serve(lambda client, data: [each.sendall(data) for each in clients])\n"
LOSING = "serve(lambda client, data: [each.sendall(data[:64]) for each in clients if each is not client])\n"
FALLING = "serve(lambda client, data: sys.exit('it was too much'))\n"
# Listens, says so, and ends, as an exercise that is not started does.
STUB = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
sys.exit("not started")
"""


def peers() -> list[Server]:
    """Every relay that lab 04 is measured beside, lab 05's among them, in every way that it can be run."""
    found, _ = servers.of_the_course()
    found = [server for server in found if server.name != REFERENCE]
    for server in list(found):
        if server.name in ("C per read", "asyncio", "uvloop"):
            found.append(Server(f"{server.name}, per line", server.program, (*server.arguments, "--per-line")))
        if server.name == "uvloop":
            found.append(Server("uvloop streams", str(PEERS / "asyncio_streams.py"), server.arguments))
    return found


each_peer = pytest.mark.parametrize("peer", peers(), ids=lambda peer: peer.name.replace(" ", "-"))


# The peers


@pytest.mark.skipif(not os.environ.get("CI"), reason="without a C compiler or uvloop some peers are left out")
def test_in_ci_every_peer_is_tested():
    assert servers.of_the_course()[1] == {}


@each_peer
@pytest.mark.parametrize("size", [64, 5000, 65536])
def test_no_line_is_lost_by_a_peer(peer, size, monkeypatch):
    # At the larger sizes a window is more than a client's queue may hold: whoever sends has to wait. On a busy machine
    # the load generator may not come to read for a second.
    monkeypatch.setenv("STALL_SECONDS", "60")
    with peer.running() as (_, address):
        result = load.closed_loop(address, 12, window=16, size=size, lines=400 if size > 64 else 4000)
    assert result.ok, result.examples
    assert result.deliveries == 11 * result.lines


@each_peer
def test_a_peer_cuts_lines_from_a_stream_of_bytes(peer):
    with peer.running() as (_, address), load.Client(address) as sender, load.Client(address) as reader:
        load.admit([sender, reader])
        for byte in b"byte by byte\n":
            sender.send(bytes([byte]))
        sender.send(b"two\nat once\nand a half")
        sender.send(b" one\n\0\xff\n")
        assert reader.read_lines(5) == [b"byte by byte\n", b"two\n", b"at once\n", b"and a half one\n", b"\0\xff\n"]
        longest = b"x" * 65535 + b"\n"
        sender.send(longest)
        assert reader.read_line() == longest


@each_peer
def test_a_slow_reader_of_a_peer_loses_nothing(peer):
    line = b"y" * 999 + b"\n"
    lines = 20_000
    with peer.running() as (_, address), load.Client(address) as sender, load.Client(address) as reader:
        load.admit([sender, reader])
        reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        speaker = threading.Thread(target=sender.socket.sendall, args=(line * lines,))
        speaker.start()
        received = sum(len(reader.read_line()) for _ in range(lines))
        speaker.join(LIMIT_SECONDS * scale())
    assert received == lines * len(line)


def test_uvloop_that_is_missing_is_one_line():
    done = run_peer("asyncio_protocol.py", "--uvloop", isolated=True)
    assert (done.returncode, done.stderr) == (1, "uvloop is not installed\n")


@pytest.mark.parametrize("name", ["asyncio_protocol.py", "asyncio_streams.py"])
def test_port_in_use_is_one_line(name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_peer(name, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "in use" in done.stderr


def run_peer(name: str, *arguments: str, isolated: bool = False) -> subprocess.CompletedProcess:
    # -S: Python without the packages installed beside it.
    return subprocess.run(
        [sys.executable, *(["-S"] if isolated else []), str(PEERS / name), *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


# A run


def test_a_small_run_tells_keeps_and_draws(tmp_path):
    done = chatlab("bench", *SMALL, "--only", f"{REFERENCE},asyncio", "--out", str(tmp_path / "here"), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for words in (
        "medians",
        f"{REFERENCE}, by ratio",
        "10 clients",
        "p99, 10",
        "memory, 10",
        "first line, 10",
        "The load generator used",
    ):
        assert words in done.stdout
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"results.json", *FIGURES}
    results = Results.read(tmp_path / "here" / "results.json")
    assert results.servers == [REFERENCE, "asyncio"]
    assert [(sample.kind, sample.server) for sample in results.samples] == [
        (kind, server) for server in results.servers for kind in (MEMORY, RATE, P99, FIRST_LINE)
    ]
    assert all(sample.value > 0 for sample in results.samples)
    assert all(0 < results.generator(server, 10) <= 1.1 for server in results.servers)
    assert results.about["versions"]["python"].startswith("3.")
    for name in FIGURES:
        assert (tmp_path / "here" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "command", ["labs/04_poll_server/poll_server.py", "{python} labs/04_poll_server/poll_server.py --port {{port}}"]
)
def test_a_server_of_ones_own_takes_its_place(tmp_path, command):
    command = command.format(python=sys.executable)
    done = chatlab("bench", *SMALL, "--only", "asyncio", "--server", command, "--out", str(tmp_path), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    results = Results.read(tmp_path / "results.json")
    assert results.servers == ["asyncio", "labs/04_poll_server/poll_server.py"]
    assert results.median(RATE, "labs/04_poll_server/poll_server.py", 10) > 0


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (ECHOING, "echoed"),
        (LOSING, "lost"),
        (FALLING, "the server ended: exit status 1: it was too much"),
    ],
    ids=["echoing", "losing", "falling"],
)
def test_a_bad_server_is_one_line_and_the_others_are_measured(tmp_path, source, says):
    server = tmp_path / "mine.py"
    server.write_text(FRONT + source)
    command = f"{sys.executable} {server} {{port}}"
    done = chatlab("bench", *SMALL, "--only", "asyncio", "--server", command, "--out", str(tmp_path), cwd=ROOT)
    lines = [line for line in done.stderr.splitlines() if "this machine is busy" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"chatlab: {tmp_path.name}/mine.py, 10 clients: ") and says in lines[0]
    assert done.returncode == 0
    results = Results.read(tmp_path / "results.json")
    assert results.median(RATE, "asyncio", 10) > 0
    assert results.median(RATE, f"{tmp_path.name}/mine.py", 10) is None
    assert [fault.clients for fault in results.faults] == [10]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("{python} -c pass {{port}}", "does not listen on port"),
        ("{python} -c 'raise SystemExit(\"no such luck\")' {{port}}", "ended with status 1: no such luck"),
        ("{python} {stub}", "ended as soon as it listened: exit status 1: not started"),
        ("sleep 60 {{port}}", "sleep does not listen on port"),
    ],
    ids=["leaving", "not-starting", "not-staying", "not-listening"],
)
def test_a_server_that_does_not_start_is_told_of_before_any_is_measured(tmp_path, command, says):
    stub = tmp_path / "mine.py"
    stub.write_text(STUB)
    command = command.format(python=sys.executable, stub=stub)
    done = chatlab("bench", "--server", command, "--out", str(tmp_path / "out"), cwd=ROOT, CHATLAB_TIME_SCALE="0.5")
    assert done.stderr.startswith("chatlab: ") and says in done.stderr
    assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (1, 1, "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (["--only", "nginx"], "--only nginx: there is only lab 04, ", 1),
        (["--only", ""], "--only names no server", 1),
        (["--server", "no-such-program {port}"], "there is no program no-such-program", 1),
        (["--server", ""], "--server is empty", 1),
        (["--server", "'"], "no closing quotation", 1),
        (["--clients", "1"], "each is from 2 to 50000", 2),
        (["--clients", "many"], "--clients", 2),
        (["--rounds", "0"], "--rounds is 0: from 1 to 100", 2),
        (["--quik"], "unrecognized arguments: --quik", 2),
        (["--out", "/proc/nowhere"], "/proc/nowhere cannot be written", 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_request_is_one_line(arguments, says, status):
    done = chatlab("bench", *arguments, cwd=ROOT)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("chatlab: ") and says in done.stderr
    assert done.returncode == status


def test_help_tells_the_options():
    done = chatlab("bench", "--help", cwd=ROOT)
    assert done.returncode == 0
    assert all(option in done.stdout for option in ("--quick", "--server", "--only", "--clients", "--rounds", "--out"))


def test_interrupted_run_is_one_line_and_leaves_nothing(tmp_path):
    output = tmp_path / "output"
    arguments = ("bench", "--only", REFERENCE, "--clients", "10", "--rounds", "100", "--out", str(tmp_path))
    with started(*arguments, "--no-pin", cwd=ROOT, output=output) as process:

        def measuring() -> list[int]:
            tree = [stat.pid for stat in procfs.descendants(process.pid)]
            return tree if any("poll_server.py" in procfs.command_line(pid) for pid in tree) else []

        tree = until(measuring, "the first server")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(LIMIT_SECONDS) == 130
    said = [line for line in output.read_text().splitlines() if "this machine is busy" not in line]
    assert said == ["chatlab: interrupted"]
    until(lambda: not any(map(alive, tree)), "the end of all that the benchmark had started")


# What a machine lacks


def test_without_a_compiler_the_peers_in_c_are_left_out(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(servers, "BUILD", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    found, left_out = servers.of_the_course()
    assert REFERENCE in [server.name for server in found]
    assert set(left_out) - {"uvloop"} == {"C batched", "C per read"}
    assert run.main([*SMALL, "--only", "asyncio", "--out", str(tmp_path / "out")]) == 0
    assert run.main([*SMALL, "--only", "C batched"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "this machine is busy" not in line]
    assert said == [
        "chatlab: --only C batched: there is no C compiler, cc: sudo apt-get install gcc (Debian, Ubuntu)",
    ]


def test_a_compiler_that_fails_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "cc").write_text("#!/bin/sh\necho 'relay.c:1: error: it is Monday' >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setattr(servers, "BUILD", tmp_path / "build")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(BenchError, match="cc cannot compile epoll_batched.c: relay.c:1: error: it is Monday"):
        servers.compiled("epoll_batched")
    assert list((tmp_path / "build").iterdir()) == []


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_peers_in_c_are_compiled_again_when_their_source_is_newer(monkeypatch, tmp_path):
    shutil.copytree(PEERS, tmp_path / "peers")
    monkeypatch.setattr(servers, "PEERS", tmp_path / "peers")
    monkeypatch.setattr(servers, "BUILD", tmp_path / "build")
    first = servers.compiled("epoll_batched").stat()
    assert servers.compiled("epoll_batched").stat().st_ino == first.st_ino
    later = first.st_mtime + 10
    os.utime(tmp_path / "peers" / "relay.h", (later, later))
    assert servers.compiled("epoll_batched").stat().st_ino != first.st_ino


def test_without_uvloop_it_is_left_out(monkeypatch):
    monkeypatch.setattr(servers.importlib.util, "find_spec", lambda name: None)
    found, left_out = servers.of_the_course()
    assert "uvloop" not in [server.name for server in found]
    assert left_out["uvloop"] == "uvloop is not installed in this environment: make bench installs it"


# The rounds, and what is made of them


def test_rounds_are_interleaved(monkeypatch):
    visited, said = [], []
    monkeypatch.setattr("benchmarks.measure.visit", lambda plan, number, server, clients, pinned: visited.append(
        (number, clients, server.name)) or [])  # fmt: skip
    plan = Plan(2, throughput=(10, 100), more_throughput=(400,), latency=(100,), memory=(), first_line=(), private=())
    pair = [Server("a", "", with_more_sizes=True), Server("b", "", most=99)]
    list(measure(plan, pair, False, said.append))
    assert visited == [(n, *visit) for n in (1, 2) for visit in ((10, "a"), (10, "b"), (100, "a"), (400, "a"))]
    assert said[:2] == ["round 1 of 2, 10 clients: a", "round 1 of 2, 10 clients: b"] and len(said) == steps(plan, pair)


def test_what_is_measured_of_whom():
    plan, (reference, forks, *others) = Plan(), servers.of_the_course()[0]
    assert plan.kinds(reference, 400) == [RATE] and plan.kinds(reference, 5000) == [MEMORY, RATE]
    assert plan.kinds(reference, 100) == [RATE, P99, FIRST_LINE]
    assert plan.kinds(forks, 1000) == [MEMORY, RATE, P99, PRIVATE] and plan.kinds(forks, 5000) == []
    assert {other.name for other in others if plan.kinds(other, 400)} <= {"C per read"}


def made(rounds: dict[str, list[float]], kind: str = RATE, clients: int = 900) -> Results:
    samples = [
        Sample(kind, number, server, clients, value, generator=0.5)
        for server, values in rounds.items()
        for number, value in enumerate(values, start=1)
    ]
    return Results(list(rounds), {}, QUICK, samples, about={})


def test_figures_are_medians_and_ratios_are_of_medians():
    results = made({REFERENCE: [5e6, 9e6, 100e6], "asyncio": [3e6, 1e6, 2e6]})
    assert results.median(RATE, REFERENCE, 900) == 9e6
    assert results.ratio(RATE, "asyncio", 900) == 4.5
    assert results.ratio(RATE, "nobody", 900) is None
    assert tables.figures(results) == (["server", "900 clients"], [[REFERENCE, "9.00 M"], ["asyncio", "2.00 M"]])
    assert tables.ratios(results)[1] == [["asyncio", "4.50"]]
    (row,) = tables.targets(results)[1]
    assert row == [RATE, "900", REFERENCE, "asyncio", "≥ 3", "4.50", "yes"]


def test_spread_is_that_of_the_worst_round():
    results = made({REFERENCE: [5e6, 10e6, 12e6], "asyncio": [1e6, 1e6, 1e6]})
    words = "The round farthest from its median differs by 50% in deliveries per second (lab 04, 900 clients)."
    assert page.spread(results) == words


def test_memory_of_a_client_is_the_slope():
    results = made({REFERENCE: [10e6, 11e6, 90e6]}, MEMORY, 1000)
    results.samples += made({REFERENCE: [13e6, 13e6, 1e6]}, MEMORY, 5000).samples
    assert results.bytes_per_client(REFERENCE) == 500
    assert tables.figures(results)[1] == [[REFERENCE, "11.0 MB", "13.0 MB", "0.50 kB"]]
    axes = against_clients(results, MEMORY)
    assert [text.get_text() for text in axes.texts] == ["lab 04: 0.50 kB per client"]
    assert axes.get_ylim()[0] == 0


def test_lab_05_has_targets_and_a_table_of_its_own():
    results = made({REFERENCE: [9e6], FORKS: [2e6], "C per read": [1e6]}, clients=400)
    results.samples += made({REFERENCE: [0.0004], FORKS: [0.0061]}, FIRST_LINE, 100).samples
    results.samples += made({FORKS: [1.5e6]}, PRIVATE, 100).samples
    head, rows = tables.children(results)
    assert head == ["server", "400 clients", "first line, 100", "a child, 100"]
    assert rows[1] == [FORKS, "2.00 M", "6.10 ms", "1.5 MB"] and rows[2] == ["C per read", "1.00 M", "–", "–"]
    assert tables.targets(results)[1] == [
        [RATE, "400", FORKS, "C per read", "≥ 1", "2.00", "yes"],
        [FIRST_LINE, "100", FORKS, "nobody", "≤ 10 ms", "6.10 ms", "yes"],
        [PRIVATE, "100", FORKS, "nobody", "≤ 2 MB", "1.5 MB", "yes"],
    ]
    assert tables.figures(results)[0] == ["server"]  # 400 clients are not for every server
    assert page.children(results) == tables.markdown((head, rows))
    assert page.children(made({REFERENCE: [9e6]})) == "lab 05 is not in the run that is kept."


def test_the_memory_of_a_process_for_each_client_does_not_flatten_the_others():
    results = made({REFERENCE: [15e6], FORKS: [1e9]}, MEMORY, 1000)
    assert [row["server"] for row in against_clients(results, MEMORY).chatlab_rows] == [REFERENCE]
    results.servers = [FORKS]
    assert [row["server"] for row in against_clients(results, MEMORY).chatlab_rows] == [FORKS]


def test_a_line_that_ends_early_has_its_name_with_the_others():
    results = made({REFERENCE: [9e6], FORKS: [2e6]}, clients=1000)
    results.samples += made({REFERENCE: [9e6], FORKS: [2e6]}, clients=900).samples
    results.samples += made({REFERENCE: [9e6]}, clients=5000).samples
    axes = against_clients(results, RATE)
    assert {text.get_text(): text.xy[0] for text in axes.texts} == {REFERENCE: 5000, FORKS: 5000}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["900", "", "5000"]


def test_a_server_with_a_fault_has_no_figure():
    results = made({REFERENCE: [5e6], "asyncio": [3e6]})
    results.add(Fault("asyncio", 900, "3 lines lost"))
    assert results.median(RATE, "asyncio", 900) is None
    assert tables.figures(results)[1][1] == ["asyncio", "–"]
    assert tables.targets(results)[1] == []


@pytest.mark.parametrize(
    ("target", "good", "bad"),
    [
        (Target(RATE, 900, "asyncio", least=3), 3.0, 2.99),
        (Target(P99, 1000, "asyncio", most=0.25), 0.25, 0.26),
        (Target(MEMORY, 5000, None, most=40e6), 40e6, 41e6),
        (Target(RATE, 400, "C per read", least=1, server=FORKS), 1.0, 0.99),
        (Target(FIRST_LINE, 100, None, most=10e-3, server=FORKS), 0.010, 0.011),
    ],
)
def test_targets(target, good, bad):
    assert target.is_met(good) and not target.is_met(bad)


def test_every_target_names_a_server_of_the_course():
    found, left_out = servers.of_the_course()
    names = {server.name for server in found} | set(left_out)
    assert {target.peer for target in TARGETS} - {None} <= names
    assert {target.server for target in TARGETS} <= names


def test_what_is_kept_is_read_again(tmp_path):
    results = made({REFERENCE: [5e6, 6e6], "ünïcode": [1.0]})
    results.about = {"date": "2026-11-23"}
    results.add(Fault("ünïcode", 10, "it fell"))
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results
    assert json.loads((tmp_path / "results.json").read_text())["plan"]["window"] == 16


@pytest.mark.parametrize("text", ["{", "[]", '{"plan": {}}', "\x00"])
def test_results_that_are_damaged_are_one_line(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(BenchError, match="does not hold results of this benchmark"):
        Results.read(tmp_path / "results.json")


def test_a_figure_has_a_line_for_each_server_and_names_that_do_not_cover_each_other():
    names = ["lab 04", "lab 05", "C batched", "asyncio", "mine.py", "yours.py"]
    results = made({name: [1e6 + place] for place, name in enumerate(names)})
    axes = against_clients(results, RATE)
    assert [row["server"] for row in axes.chatlab_rows] == names
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_title(loc="left") and axes.get_ylabel() and axes.get_xlabel()
    looks = {(line.get_marker(), line.get_linestyle()) for line in axes.lines if line.get_marker() != "None"}
    assert len(looks) == len(names)
    axes.figure.draw_without_rendering()
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
    assert all(above.y0 >= below.y1 for below, above in zip(boxes, boxes[1:], strict=False))


# The pages


@pytest.mark.parametrize("path", page.PAGES, ids=lambda path: path.name)
def test_figures_in_pages_are_those_that_are_kept(path):
    text = path.read_text(encoding="utf-8")
    results = Results.read(page.RESULTS)
    assert page.written(text, results) == text, (
        f"{path.name} is not of the run that is kept: page.write_all() in benchmarks/page.py writes it"
    )


def test_the_page_about_benchmarks_has_its_figures():
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert {found["name"] for found in page.MARK.finditer(text)} == set(page.BLOCKS) - {"summary"}


def test_a_page_with_another_runs_figures_is_found_out():
    results = made({REFERENCE: [9e6], "asyncio": [3e6]})
    text = "It is\n<!-- bench: ratios -->\n| old |\n<!-- /bench -->\nfast.\n"
    new = page.written(text, results)
    assert "| asyncio | 3.00 |" in new and "old" not in new
    assert page.written(new, results) == new
    with pytest.raises(BenchError, match="there is no block figurs"):
        page.written("<!-- bench: figurs --><!-- /bench -->", results)


def test_what_is_kept_is_a_whole_run():
    results = Results.read(page.RESULTS)
    whole, found = Plan(), [server for server in servers.of_the_course()[0] if server.name in results.servers]
    if FORKS not in results.servers:  # a run from before lab 05 was measured
        whole = replace(whole, more_throughput=(), first_line=(), private=())
    assert results.plan == whole
    assert (results.faults, results.left_out) == ([], {})
    for clients, server in visits(whole, found):
        for kind in whole.kinds(server, clients):
            assert len(results.values(kind, server.name, clients)) == whole.rounds
    assert {path.name for path in page.RESULTS.parent.glob("*.png")} == set(FIGURES)

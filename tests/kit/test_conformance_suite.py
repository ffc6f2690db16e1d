"""The conformance suite itself: for every case there is a server that fails it, and the fault names the mistake."""

import os
import re

import pytest

from chatlab.course import find_root
from tests.conformance.children import FORK_CASES
from tests.conformance.processes import CASES
from tests.conformance.room import DoesNotApply, Fault, NotChecked
from tests.conformance.scenarios import SCENARIOS
from tests.conformance.server import Server
from tests.kit.test_ncat_broker import KNOWN_FAILURES, TAKE_LONG

PITFALL = "python labs/04_poll_server/pitfalls.py {} --port {{port}}"
BAD = "python tests/conformance/bad_servers.py {} --port {{port}}"

# Case: a server that fails it (a pitfall of lab 04, or one of bad_servers.py), and a piece of what is said.
FAILED_BY = {
    "byte_at_a_time": ("lines-mixed", "chunks are relayed as they come"),
    "many_lines_in_one_segment": ("OneLineAChunk", "one line is taken from each chunk"),
    "empty_lines": ("NoEmptyLines", "an empty line is"),
    "line_of_60_kb": ("SmallBuffer", "a buffer of fixed size"),
    "longest_line": ("OffByOne", "off by one"),
    "endless_line": ("EndlessLines", "a line is kept however long it grows"),
    "every_byte": ("cut-at-nul", "strlen"),
    "carriage_return_stays": ("Strips", "strip"),
    "not_echoed": ("Echoes", "the sender is not left out"),
    "two_senders_do_not_mix": ("lines-mixed", "not a whole line"),
    "order_of_each_sender": ("BackToFront", "not first in, first out"),
    "one_order": ("AnOrderForEach", "in the order in which it happens to see them"),
    "several_in_one_turn": ("only-the-last-line", "the last one wins"),
    "send_and_close": ("ClosesAtHangUp", "a hang-up is handled before the data"),
    "last_words_before_a_reset": ("last-words-lost", "a hang-up is handled before the data"),
    "unterminated_last_line": ("DropsTheUnfinished", "what has no newline is thrown away"),
    "unterminated_text_after_reset": ("FinishesAtReset", "a reset is handled as the end of input"),
    "half_close_keeps_receiving": ("gone-at-half-close", "it ends one direction"),
    "reset_harms_nobody": ("EndsAtReset", "ECONNRESET or EPIPE on one connection"),
    "reset_under_way": ("EndsAtBrokenPipe", "it ended the connection"),
    "reader_that_never_reads": ("frozen-room", "one that does not read holds up all the others"),
    "fifty_readers_that_never_read": ("memory-without-bound", "queues without a bound"),
    "small_words_for_a_flooder": ("KeepsEveryView", "each holds its whole turn in memory"),
    "small_words_for_deaf_ones": ("KeepsEveryView", "an object for each"),
    "slow_reader_loses_nothing": ("holes-for-slow-readers", "dropped"),
    "flood_beside_a_talker": ("ReadsTheLoudest", "the loudest is read first"),
    "connect_storm": ("OneHundredOnly", "accept"),
    "newcomers_hear_what_is_said_next": ("deaf-newcomers", "one accept in each turn"),
    "churn": ("Leaks", "not closed"),
    "rests_after_talk": ("busy-after-the-first-line", "POLLOUT left on"),
    "rests_beside_a_half_closed_client": ("AwakeAtEndOfInput", "end of file stays readable"),
    "rests_beside_one_that_has_gone": ("AwakeBesideTheBroken", "POLLERR and POLLHUP come unasked"),
    "nc_is_a_member": ("Greets", "a greeting"),
    "ncat_is_a_member": ("Greets", "a greeting"),
    "socat_is_a_member": ("Greets", "a greeting"),
    "says_where_it_listens": ("SaysItLate", "keeps its text in a buffer"),
    "port_in_use": ("TracebackAtBind", "OSError of bind is not caught"),
    "bad_port": ("AnyPort", "in one line"),
    "restart_on_the_same_port": ("no-restart", "SO_REUSEADDR"),
    "ends_at_sigint_and_sigterm": ("TracebackAtSignals", "KeyboardInterrupt"),
    "room_for_two": ("reset-instead-of-notice", "sends RST"),
    "out_of_descriptors": ("busy-without-descriptors", "at EMFILE the listener stays readable"),
    "half_close_ends": ("KeepsTheHalfClosed", "kept for ever"),
    "reset_before_it_is_turned_away": ("WatchesTheForgotten", "a descriptor that is closed"),
    "smaller_queues": ("memory-without-bound", "queues without a bound"),
    "killed_child_costs_its_client_only": ("FallsWithAChild", "the end of one child ends the server"),
    "frozen_child_catches_up": ("WaitsUntilItIsRead", "a socketpair holds about 277"),
    "child_that_stays_frozen": ("EndsGently", "SIGTERM waits until it thaws"),
    "killed_parent_takes_its_children_along": ("OutlivesItsParent", "PR_SET_PDEATHSIG"),
    "child_holds_only_its_own": ("LetsNothingGo", "the listener, 2 ends of socketpairs, 2 epolls"),
}
# What is in the children must not escape the others; and some fork cases demand several things.
FAILED_BY_CHILDREN = [
    ("rests_after_talk", "SpinsInTheChild", "on a processor"),
    ("small_words_for_deaf_ones", "AnObjectForEachLine", "an object for each"),
    ("churn", "LeavesZombies", "200 of them zombies"),
    ("killed_child_costs_its_client_only", "LeavesZombies", "5 zombies stay"),
    ("killed_child_costs_its_client_only", "KeepsThePlace", "the places of those that were killed are lost"),
    ("frozen_child_catches_up", "OneLineForEachBell", "a message stands for one line"),
]
OVER_THE_WIRE = {**SCENARIOS, **FORK_CASES}
SLOW = {name for name, case in SCENARIOS.items() if case.slow}


def test_every_case_has_a_server_that_fails_it():
    assert set(FAILED_BY) == (set(OVER_THE_WIRE) | set(CASES)) - SLOW


@pytest.mark.parametrize("name", FAILED_BY)
def test_the_case_can_fail(name):
    it_fails(name, *FAILED_BY[name])


@pytest.mark.parametrize(("name", "bad", "words"), FAILED_BY_CHILDREN)
def test_what_children_do_does_not_escape(name, bad, words):
    it_fails(name, bad, words)


def it_fails(name, bad, words):
    server = Server((PITFALL if bad.islower() else BAD).format(bad), timeout=2.0)
    with pytest.raises((Fault, NotChecked)) as raised:
        if name in CASES:
            CASES[name].run(server)
        else:
            with server.start() as running, running.room() as room:
                OVER_THE_WIRE[name].run(room)
    if raised.type is NotChecked and "CI" not in os.environ:
        pytest.skip(str(raised.value))
    assert words in str(raised.value)


@pytest.mark.parametrize("name", [*FORK_CASES, "memory_of_5000_idle_clients"])
def test_another_kind_of_server_is_not_meant(name):
    lab = "04_poll_server/poll_server" if name in FORK_CASES else "05_epoll_fork_shm/fork_shm_server"
    server = Server(f"python labs/{lab}.py --port {{port}}")
    with pytest.raises(DoesNotApply), server.start() as running, running.room() as room:
        OVER_THE_WIRE[name].run(room)


def test_the_page_names_every_case():
    page = (find_root() / "docs/conformance.md").read_text()
    for name, case in {**OVER_THE_WIRE, **CASES}.items():
        assert f"| `{name}` | {case.title} |" in page
    _, _, broker = page.partition("## ncat --broker")
    named = set(re.findall(r"(?m)^\| `(\w+)` \|", broker))
    assert named == set(KNOWN_FAILURES) | TAKE_LONG
    for name, (why, _) in KNOWN_FAILURES.items():
        assert f"| `{name}` | {why} |" in broker

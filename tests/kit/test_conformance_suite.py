"""The conformance suite itself: for every case there is a server that fails it, and the fault names the mistake."""

import os
import re

import pytest

from chatlab.course import find_root
from tests.conformance.processes import CASES
from tests.conformance.room import Fault, NotChecked
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
}
SLOW = {name for name, case in SCENARIOS.items() if case.slow}


def test_every_case_has_a_server_that_fails_it():
    assert set(FAILED_BY) == (set(SCENARIOS) | set(CASES)) - SLOW


@pytest.mark.parametrize("name", FAILED_BY)
def test_the_case_can_fail(name):
    bad, words = FAILED_BY[name]
    server = Server((PITFALL if bad.islower() else BAD).format(bad), timeout=2.0)
    with pytest.raises((Fault, NotChecked)) as raised:
        if name in CASES:
            CASES[name].run(server)
        else:
            with server.start() as running, running.room() as room:
                SCENARIOS[name].run(room)
    if raised.type is NotChecked and "CI" not in os.environ:
        pytest.skip(str(raised.value))
    assert words in str(raised.value)


def test_the_page_names_every_case():
    page = (find_root() / "docs/conformance.md").read_text()
    for name, case in {**SCENARIOS, **CASES}.items():
        assert f"| `{name}` | {case.title} |" in page
    _, _, broker = page.partition("## ncat --broker")
    named = set(re.findall(r"(?m)^\| `(\w+)` \|", broker))
    assert named == set(KNOWN_FAILURES) | TAKE_LONG
    for name, (why, _) in KNOWN_FAILURES.items():
        assert f"| `{name}` | {why} |" in broker

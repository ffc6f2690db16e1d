"""An outside peer under the conformance suite: `ncat -l --broker`, with what it is known not to do, by name.

A case that fails and is not listed here, or is listed and passes, fails this test: then the list is to be corrected,
or the suite has changed its mind.
"""

import os
import shutil

import pytest

from tests.conformance.processes import CASES
from tests.conformance.room import Fault
from tests.conformance.scenarios import SCENARIOS
from tests.conformance.server import Server

COMMAND = "ncat -l --broker 127.0.0.1 {port}"

# Case: why it fails, and a piece of what is said then.
KNOWN_FAILURES = {
    "byte_at_a_time": ("it relays chunks, and knows of no lines", "chunks are relayed as they come"),
    "two_senders_do_not_mix": ("it relays chunks", "b'first hal' came"),
    "order_of_each_sender": ("it relays chunks of 8192 bytes, between which another's may come", "came"),
    "endless_line": ("it knows of no lines, so of none that is too long", "a line is kept however long it grows"),
    "unterminated_last_line": ("it completes nothing", "what has no newline is thrown away"),
    "unterminated_text_after_reset": ("it has relayed the text already", "b'never fin' came"),
    "half_close_keeps_receiving": ("it takes end of file for the end of the connection", "it ends one direction"),
    "reset_harms_nobody": ("it has relayed half a line already", "b'half a line"),
    "reader_that_never_reads": ("its sends wait, so one reader freezes the room", "nothing moved"),
    "fifty_readers_that_never_read": ("its sends wait, so one reader freezes the room", "nothing moved"),
    "newcomers_hear_what_is_said_next": ("it accepts one at a time, and reads between", "one accept in each turn"),
    "out_of_descriptors": ("at EMFILE it goes on asking for newcomers", "at EMFILE the listener stays readable"),
}
# ncat's listen(2) has a backlog of 10: these two connect so often that SYNs are dropped, and come again a second later.
# By hand: both fail, connect_storm since ncat takes 100 clients at a time, churn since texts are glued together.
TAKE_LONG = {"connect_storm", "churn"}
SLOW = {name for name, case in SCENARIOS.items() if case.slow}
OURS = {name for name, case in CASES.items() if case.ours}
HERE = [name for name in (*SCENARIOS, *CASES) if name not in TAKE_LONG | SLOW | OURS]

pytestmark = pytest.mark.skipif(shutil.which("ncat") is None and "CI" not in os.environ, reason="ncat is not installed")


def run(name: str) -> None:
    server = Server(COMMAND, timeout=2.0)
    if name in CASES:
        CASES[name].run(server)
        return
    with server.start() as running, running.room() as room:
        SCENARIOS[name].run(room)


def test_only_cases_that_there_are_are_listed():
    assert set(KNOWN_FAILURES) <= set(HERE)
    assert set(SCENARIOS) > TAKE_LONG


@pytest.mark.parametrize("name", [name for name in HERE if name not in KNOWN_FAILURES])
def test_what_ncat_does(name):
    run(name)


@pytest.mark.parametrize("name", KNOWN_FAILURES)
def test_what_ncat_does_not_do(name):
    with pytest.raises(Fault) as raised:
        run(name)
    assert KNOWN_FAILURES[name][1] in str(raised.value)

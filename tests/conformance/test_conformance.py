"""The suite over one server, a fresh process for each case."""

import os
from contextlib import contextmanager

import pytest

from tests.conformance.children import FORK_CASES
from tests.conformance.processes import CASES, TRACEBACK
from tests.conformance.room import DoesNotApply, Fault, NotChecked
from tests.conformance.scenarios import SCENARIOS
from tests.conformance.server import ServerError


@contextmanager
def told():
    """A fault as a student reads it, without the suite's own lines. What cannot be checked is skipped, but for CI."""
    try:
        yield
    except NotChecked as reason:
        if "CI" in os.environ:
            raise pytest.fail.Exception(f"{reason}, and in CI nothing is skipped", pytrace=False) from None
        pytest.skip(str(reason))
    except DoesNotApply as reason:
        pytest.skip(str(reason))
    except (Fault, ServerError) as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.mark.parametrize("name", SCENARIOS)
def test_over_the_wire(name, server, slow):
    run_in_a_room(SCENARIOS[name], server, slow)


@pytest.mark.parametrize("name", FORK_CASES)
def test_with_a_process_for_each_client(name, server, slow):
    run_in_a_room(FORK_CASES[name], server, slow)


def run_in_a_room(case, server, slow):
    if case.slow and not slow:
        pytest.skip("takes long: asked for by --slow")
    with told(), server.start() as running:
        with running.room() as room:
            case.run(room)
        if TRACEBACK in running.program.log:
            raise Fault("log in lines", running.program.log, "an exception ended the server, or a turn of it")


@pytest.mark.parametrize("name", CASES)
def test_as_a_process(name, server):
    case = CASES[name]
    if case.ours and not server.ours:
        pytest.skip("needs the options, or the words, that only this course's servers have")
    with told():
        case.run(server)

"""The server that the suite runs on: `pytest tests/conformance --server "command {port}"`."""

import pytest

from tests.conformance.server import Server, ServerError

SERVER = pytest.StashKey[Server]()
DEFAULT = "python labs/04_poll_server/poll_server.py --port {port}"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chatlab")
    group.addoption(
        "--server", default=DEFAULT, metavar="COMMAND", help='a relay to hold against the contract: "command {port}"'
    )
    group.addoption("--slow", action="store_true", help="the cases that take long, too")


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[SERVER] = server = Server(config.getoption("--server"))
        # Once, not in each of pytest-xdist's workers; and a broken lab 04 does not keep the other tests from running.
        if server.command != DEFAULT and not hasattr(config, "workerinput"):
            server.try_out()
    except ServerError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    """The Server of --server."""
    server = request.config.stash[SERVER]
    if server.missing:
        pytest.skip(server.missing)
    return server


@pytest.fixture
def slow(request: pytest.FixtureRequest) -> bool:
    """Whether --slow was given."""
    return request.config.getoption("--slow")

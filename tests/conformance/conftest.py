"""The server that the suite runs on: `pytest tests/conformance --server "command {port}"`."""

import pytest

from tests.conformance.server import Server, ServerError

DEFAULT = "python labs/04_poll_server/poll_server.py --port {port}"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chatlab")
    group.addoption(
        "--server", default=DEFAULT, metavar="COMMAND", help='a relay to hold against the contract: "command {port}"'
    )
    group.addoption("--slow", action="store_true", help="the cases that take long, too")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Server:
    """The Server of --server."""
    try:
        server = Server(request.config.getoption("--server"))
    except ServerError as error:
        raise pytest.UsageError(str(error)) from None
    if server.missing:
        pytest.skip(server.missing)
    return server


@pytest.fixture
def slow(request: pytest.FixtureRequest) -> bool:
    """Whether --slow was given."""
    return request.config.getoption("--slow")

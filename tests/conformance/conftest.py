"""The server that the suite runs on: `pytest tests/conformance --server "command {port}"`; else the references."""

import pytest

from tests.conformance.server import Server, ServerError

SERVER = pytest.StashKey[Server | None]()
REFERENCES = {
    "lab-04": "python labs/04_poll_server/poll_server.py --port {port}",
    "lab-05": "python labs/05_epoll_fork_shm/fork_shm_server.py --port {port}",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chatlab")
    group.addoption(
        "--server",
        metavar="COMMAND",
        help='a relay to hold against the contract: "command {port}" (default: those of labs 04 and 05)',
    )
    group.addoption("--slow", action="store_true", help="the cases that take long, too")


def pytest_configure(config: pytest.Config) -> None:
    command = config.getoption("--server")
    config.stash[SERVER] = None
    if command is None:
        return
    try:
        config.stash[SERVER] = server = Server(command)
        if not hasattr(config, "workerinput"):  # once, not in each of pytest-xdist's workers
            server.try_out()
    except ServerError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames and metafunc.config.stash[SERVER] is None:
        metafunc.parametrize("server", REFERENCES.values(), ids=REFERENCES, indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    """The Server of --server, or a reference."""
    server = request.config.stash[SERVER] or Server(request.param)
    if server.missing:
        pytest.skip(server.missing)
    return server


@pytest.fixture
def slow(request: pytest.FixtureRequest) -> bool:
    """Whether --slow was given."""
    return request.config.getoption("--slow")

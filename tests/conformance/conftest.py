"""The server that the suite runs on: `pytest tests/conformance --server "command {port}"`."""

import pytest

DEFAULT = "python labs/04_poll_server/poll_server.py --port {port}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("chatlab").addoption(
        "--server", default=DEFAULT, metavar="COMMAND", help='a relay to hold against the contract: "command {port}"'
    )

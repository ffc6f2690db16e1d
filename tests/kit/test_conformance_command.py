"""`make conformance SERVER=…`: a command that is no server is one line, before any case runs."""

import subprocess
import sys

import pytest

from chatlab.course import find_root
from tests.kit.command import LIMIT_SECONDS, environment


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("sleep 60 {port}", "does not listen"),
        ("python -c pass {port}", "exit status 0"),
        ("python -c 'raise SystemExit(\"no such luck\")' {port}", "exit status 1: no such luck"),
        ("python nowhere.py {port}", "nowhere.py is not there"),
        ("no-such-program {port}", "there is no program no-such-program"),
        ("sleep 60", "{port} must stand where the command takes its port"),
        ("sleep '{port}", "no closing quotation"),
    ],
    ids=["deaf", "leaving", "not-starting", "missing-script", "missing-program", "without-port", "quotation"],
)
def test_a_command_that_is_no_server_is_one_line(command, says):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "tests/conformance", "--server", command],
        cwd=find_root(),
        env=environment(CHATLAB_TIME_SCALE="0.5"),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert len(said) == 1 and says in said[0], said
    assert done.returncode == pytest.ExitCode.USAGE_ERROR

"""make: each target is one command, and an environment is made whole or not at all."""

import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chatlab import environment as environments
from tests.kit.command import environment
from tests.kit.waiting import until

ROOT = Path(__file__).resolve().parents[2]
WAITS = "chatlab: another make is installing; waiting for it\n"


def make(*arguments: str, **changes: str | None) -> subprocess.CompletedProcess:
    """Run make in the course's root, without what a make above this test has set."""
    changes = {"MAKEFLAGS": None, "MAKELEVEL": None, "MAKEOVERRIDES": None, **changes}
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def ready(tmp_path):
    """A directory that looks like a ready environment, for `make -n`, which runs nothing."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    for tier in environments.TIERS:
        (venv / f".ready-{tier}").touch()
    return venv


COMMANDS = [
    *[(f"lab-{n}", f"chatlab lab {n}") for n in range(1, 7)],
    ("chat", "chatlab chat"),
    ("chat SERVER=my.py PORT=0", 'chatlab chat --server "$SERVER" --port 0'),
    ("join", "chatlab join"),
    ("join PORT=40123", "chatlab join --port 40123"),
    ("check-1", "chatlab check 1"),
    ("check-1.2", "chatlab check 1.2"),
    ("watch", "chatlab watch"),
    ("hint EX=1.2", "chatlab hint 1.2"),
    ("why EX=1.2", "chatlab why 1.2"),
    ("progress", "chatlab progress"),
    ("notebook", "chatlab notebook"),
    ("notebooks", "chatlab notebooks"),
    ("stress N=3 TESTS=tests/labs", "chatlab stress --times 3 tests/labs"),
    ("bench", "chatlab bench"),
    ("bench KEEP=1", "chatlab bench --keep"),
    ("bench QUICK=1 SERVER=my.py", 'chatlab bench --quick --server "$SERVER"'),
    ("doctor", "chatlab doctor"),
    ("clean", "chatlab clean"),
]


@pytest.mark.parametrize(("target", "command"), COMMANDS, ids=[target for target, _ in COMMANDS])
def test_target_is_one_command_of_the_kit(ready, target, command):
    done = make("-n", f"VENV={ready}", *target.split())
    assert done.stdout.splitlines() == [f"{ready}/bin/{command}"], done.stderr


@pytest.mark.parametrize("where", ["command line", "environment"])
@pytest.mark.parametrize("target", ["chat", "bench", "conformance"])
def test_the_servers_command_arrives_as_it_was_typed(ready, target, where):
    for name in ("chatlab", "pytest"):
        (ready / "bin" / name).write_text('#!/bin/sh\nfor last; do :; done\nprintf "%s" "$last"\n')
        (ready / "bin" / name).chmod(0o755)
    server = """sh -c 'echo "$HOME" $$ #`x`' {port}"""
    if where == "environment":
        done = make(f"VENV={ready}", target, SERVER=server)
    else:
        done = make(f"VENV={ready}", target, f"SERVER={server}")
    assert (done.stdout, done.stderr) == (server, "")


@pytest.mark.parametrize("target", ["conformance", "test", "test-notebooks", "lint"])
def test_other_targets_run_pytest_and_ruff(ready, target):
    done = make("-n", f"VENV={ready}", target)
    program = "ruff" if target == "lint" else "pytest"
    assert done.returncode == 0 and done.stdout
    assert all(f"{ready}/bin/{program} " in line for line in done.stdout.splitlines())


def test_help_is_the_default_and_names_every_target():
    done = make()
    assert done.returncode == 0
    assert done.stdout == make("help").stdout
    told = set(re.findall(r"(?m)^  make (\S+)", done.stdout))
    meant = {re.sub(r"-[\d.]+$", "-N", target.split()[0]) for target, _ in COMMANDS}
    assert told == meant | {"conformance", "test", "test-notebooks", "lint", "help"}


@pytest.mark.parametrize("python", ["/nonexistent/python3", "false"])
def test_missing_or_old_python_is_one_line(tmp_path, python):
    done = make(f"VENV={tmp_path / 'venv'}", f"PYTHON={python}", "lab-1")
    says = (
        f"chatlab: {python} is not Python 3.11 or newer; install one and name it, as in: PYTHON=python3.12 make lab-1"
    )
    lines = done.stderr.splitlines()
    assert lines[0] == says
    assert all(line.startswith("make: ***") for line in lines[1:])  # make's own word on the status
    assert done.returncode != 0
    assert not (tmp_path / "venv").exists()


def run_environment(venv: Path, *, before: str = "", **changes: str | None) -> subprocess.CompletedProcess:
    """Run `python -m chatlab.environment`, after the statement `before`."""
    code = f"import runpy, sys; sys.argv[1:] = ['--venv', {str(venv)!r}, 'base']; {before}\n"
    code += "runpy.run_module('chatlab.environment', run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_python_without_venv_names_the_package(tmp_path):
    done = run_environment(tmp_path / "venv", before="sys.modules['ensurepip'] = None")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.stderr == (
        f"chatlab: Python {version} has no venv module: sudo apt-get install python{version}-venv (Debian, Ubuntu)\n"
    )
    assert done.returncode == 1


def test_interrupted_environment_never_looks_ready_and_the_next_begins_afresh(tmp_path):
    venv = tmp_path / "venv"
    process = subprocess.Popen(
        [sys.executable, "-m", "chatlab.environment", "--venv", str(venv), "base"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    until((venv / "bin" / "python").exists, "a half-made environment")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not environments.is_ready(venv, "base")
    assert (venv / ".making").exists()
    (venv / "left-over").touch()
    # Without a network the next one fails too, in one line; what was half-made is gone.
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": None, "PIP_CONFIG_FILE": os.devnull}
    done = run_environment(venv, **offline)
    assert not (venv / "left-over").exists()
    assert not environments.is_ready(venv, "base")
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("chatlab: pip failed: "), done.stderr
    assert done.returncode == 1


def test_directory_of_somebody_else_is_not_removed(tmp_path):
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "mine").write_text("precious")
    done = run_environment(venv)
    assert "was not made by make" in done.stderr and len(done.stderr.splitlines()) == 1
    assert done.returncode == 1
    assert (venv / "mine").read_text() == "precious"


def test_older_stamp_is_looked_at_and_kept_when_nothing_that_matters_has_changed(ready):
    (ready / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}").mkdir(parents=True)
    stamp = ready / ".ready-base"
    stamp.write_text(environments.recipe())
    os.utime(stamp, (0, 0))
    assert "-m chatlab.environment" in make("-n", f"VENV={ready}", "progress").stdout
    done = make(f"VENV={ready}", "environment")
    # Another worker's test may be making an environment meanwhile.
    assert (done.returncode, done.stdout.removeprefix(WAITS), done.stderr) == (0, "", "")
    assert stamp.stat().st_mtime >= (ROOT / "constraints.txt").stat().st_mtime
    assert "-m chatlab.environment" not in make("-n", f"VENV={ready}", "progress").stdout


def test_stamp_of_other_versions_is_not_ready(ready):
    assert not environments.is_ready(ready, "base")
    (ready / ".ready-base").write_text(environments.recipe())
    assert environments.is_ready(ready, "base")
    assert not environments.is_ready(ready, "lint")


@pytest.mark.parametrize("asked", ["notebooks", "lint"])
def test_whatever_comes_first_into_an_empty_environment_base_comes_before_it(tmp_path, asked):
    assert environments.to_install(tmp_path / "venv", [asked]) == ["base", asked]
    assert any(line.startswith("typer==") for line in environments.requirements("base"))
    assert environments.requirements(asked)


def test_tier_that_is_ready_is_not_installed_again(ready):
    (ready / ".ready-base").write_text(environments.recipe())
    assert environments.to_install(ready, ["notebooks", "base"]) == ["notebooks"]
    assert environments.to_install(ready, ["base"]) == []


def test_second_make_says_that_it_waits_for_the_first(ready):
    (ready / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}").mkdir(parents=True)
    (ready / ".ready-base").write_text(environments.recipe())
    holder = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        second = subprocess.Popen(
            [sys.executable, "-m", "chatlab.environment", "--venv", str(ready), "base"],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        says = second.stdout.readline()
    finally:
        os.close(holder)
    assert second.communicate(timeout=240)[0] == ""
    assert says == WAITS
    assert second.returncode == 0


@pytest.mark.parametrize("target", ["lab", "lab-7", "check", "chekc-1"])
def test_unknown_target_is_one_line(target):
    done = make(target)
    assert f"chatlab: there is no target {target}: make help lists them" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stdout == ""
    assert done.returncode == 2


def test_every_version_is_fixed_and_those_of_pyproject_are_the_same():
    fixed = dict(re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text()))
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) == len(fixed)
    wanted = dict(re.findall(r'(?m)^    "([a-z0-9.-]+)==([^"]+)"', (ROOT / "pyproject.toml").read_text()))
    assert wanted and {name: fixed.get(name) for name in wanted} == wanted

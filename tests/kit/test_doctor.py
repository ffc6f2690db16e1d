"""doctor, as a black box: what it finds is what is so, and what is missing comes with its cure."""

import re
import resource
import socket
import subprocess
import sys
from pathlib import Path

from chatlab import doctor
from tests.kit.command import chatlab, environment, path_without

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"(OK     |without|MISSING)  .{16} \S.*")


def words_of(output: str) -> dict[str, tuple[str, str]]:
    """name → (the first word, all words) of each line of the report."""
    lines = output.splitlines()[:-1]
    assert all(LINE.fullmatch(line) for line in lines), output
    return {line[9:26].strip(): (line[:8].strip(), line[26:]) for line in lines}


def test_this_machine_has_what_the_course_needs():
    done = chatlab("doctor", cwd=ROOT)
    assert done.returncode == 0, done.stdout
    found = words_of(done.stdout)
    assert list(found) == [
        "Python", "Linux", "strace", "bubblewrap", "user namespaces", "descriptor limit", "/dev/shm", "loopback",
        f"port {doctor.USUAL_PORT}", "C compiler",
    ]  # fmt: skip
    assert found["Python"] == ("OK", sys.version.split()[0])
    assert done.stdout.splitlines()[-1] == "Everything that the course needs is there."


def test_programs_that_are_not_installed_cost_something_and_can_be_had(tmp_path):
    path = path_without(tmp_path / "bin", "strace", "bwrap", "cc")
    done = chatlab("doctor", cwd=ROOT, PATH=path)
    found = words_of(done.stdout)
    assert found["C compiler"] == (
        "without",
        "not installed: sudo apt-get install gcc libc6-dev; without it `make bench` leaves out the servers in C",
    )
    assert found["strace"] == (
        "without",
        "not installed: sudo apt-get install strace; without it traces are sampled, checks of system calls say"
        " `not checked`",
    )
    assert found["bubblewrap"][0] == "without"
    assert "sudo apt-get install bubblewrap; without it" in found["bubblewrap"][1]
    assert done.returncode == 0
    strict = chatlab("doctor", "--strict", cwd=ROOT, PATH=path)
    assert words_of(strict.stdout)["strace"][0] == "MISSING"
    assert strict.returncode == 1


def test_programs_that_are_there_and_do_not_work_are_told_apart(tmp_path):
    """What they say where ptrace and user namespaces are forbidden, as in a hardened container."""
    path = path_without(tmp_path / "bin", "strace", "bwrap", "unshare")
    for name, says in (
        ("strace", "strace: ptrace(PTRACE_TRACEME, ...): Operation not permitted"),
        ("bwrap", "bwrap: No permissions to create new namespace"),
        ("unshare", "unshare: write failed /proc/self/uid_map: Operation not permitted"),
    ):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
        program.chmod(0o755)
    found = words_of(chatlab("doctor", cwd=ROOT, PATH=path).stdout)
    assert found["strace"][1].startswith("may not trace: strace: ptrace(PTRACE_TRACEME, ...): Operation not permitted")
    assert found["bubblewrap"][1].startswith("cannot make a sandbox: bwrap: No permissions")
    assert found["user namespaces"][1].startswith("cannot be made: unshare: write failed")
    assert "sudo sysctl kernel." in found["user namespaces"][1]


def test_what_is_needed_and_missing_makes_the_status_1():
    def lower_the_limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    done = subprocess.run(
        [sys.executable, "-m", "chatlab", "doctor"],
        cwd=ROOT,
        env=environment(),
        preexec_fn=lower_the_limit,  # noqa: PLW1509, setrlimit takes no lock
        capture_output=True,
        text=True,
        check=False,
    )
    assert words_of(done.stdout)["descriptor limit"] == ("MISSING", "100, can be raised to 100: ulimit -n 1024")
    assert done.stdout.splitlines()[-1] == "Something that the course needs is missing."
    assert done.returncode == 1


def test_a_taken_port_is_seen(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(doctor, "USUAL_PORT", listener.getsockname()[1])
        found = doctor.look_at_usual_port()
        assert (found.ok, found.needed, found.words) == (False, False, "Address already in use")
        assert f"ss -ltnp 'sport = :{doctor.USUAL_PORT}'" in found.cure
    assert doctor.look_at_usual_port().ok

"""The demonstrations under docs/demos/ are run as anyone would run them, and say what the kernel did."""

import os
import re
import subprocess
import sys

import pytest
from tree import ROOT, files_under, relative

SECONDS = 20
DEMOS = files_under("docs/demos", suffix=".py")


def run(demo: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run a demonstration with nothing on its standard input; its output is text."""
    return subprocess.run(
        [sys.executable, ROOT / "docs/demos" / demo, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    )


def answer(output: str, step: str) -> str:
    """What stands behind the arrow of the first line whose step begins so."""
    match = re.search(rf"^ *{re.escape(step)}.*?-> (.*)$", output, re.MULTILINE)
    assert match, f"no line {step!r} -> … in:\n{output}"
    return match[1].strip()


@pytest.mark.parametrize("demo", DEMOS, ids=relative)
def test_help_explains(demo):
    done = run(demo.name, "-h")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {demo.name}")


@pytest.mark.parametrize("demo", DEMOS, ids=relative)
def test_bad_input_is_one_clear_complaint(demo):
    done = run(demo.name, "--no-such-option")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == f"{demo.name}: error: unrecognized arguments: --no-such-option"


@pytest.mark.parametrize("demo", DEMOS, ids=relative)
def test_a_reader_that_leaves_early_causes_no_traceback(demo):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        done = subprocess.run(
            [sys.executable, "-u", demo], stdout=output, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False
        )
    assert done.stderr == ""


def test_urgent_data_shows_pollpri_alone():
    done = run("pollpri.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert answer(done.stdout, "nothing sent yet") == "nothing"
    assert answer(done.stdout, "asked for the output events") == "POLLOUT POLLWRNORM"
    assert answer(done.stdout, "three ordinary bytes") == "POLLIN POLLRDNORM"
    assert answer(done.stdout, "one urgent byte") == "POLLPRI"
    assert answer(done.stdout, "recv(MSG_OOB)") == "b'!'"
    assert answer(done.stdout, "recv(): not in the stream").startswith("BlockingIOError")
    assert answer(done.stdout, "poll again") == "nothing"


def test_an_ordinary_recv_loses_the_urgent_byte():
    output = run("pollpri.py").stdout
    assert answer(output, "recv() first").startswith("BlockingIOError")
    assert answer(output, "recv(MSG_OOB), too late") == "OSError: Invalid argument"


def test_the_urgent_byte_is_outside_of_the_stream_unless_inline():
    _, outside, inline = re.split(r"^[34]\. ", run("pollpri.py").stdout, flags=re.MULTILINE)
    assert answer(outside, "the stream held") == "b'beforeafter'"
    assert answer(outside, "recv(MSG_OOB)") == "b'!'"
    assert answer(inline, "the stream held") == "b'before!after'"
    assert answer(inline, "recv() by recv()").startswith("b'before' ")


def test_splice_with_an_offset_leaves_the_position_alone():
    done = run("splice_offset.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert answer(done.stdout, "splice 4 from offset 10") == "4 bytes, b'abcd'"
    assert answer(done.stdout, "splice 4, no offset") == "4 bytes, b'0123'"
    positions = re.findall(r"the file's position +-> (\d+)", done.stdout)
    assert positions == ["0", "0", "4", "4"]
    assert answer(done.stdout, "the file holds") == "b'0123456789abcdeXYZij'"


def test_splice_refuses_an_offset_for_what_has_no_places():
    output = run("splice_offset.py").stdout
    assert answer(output, "from a pipe with an offset") == "ESPIPE: Illegal seek"
    assert answer(output, "to a pipe with an offset") == "ESPIPE: Illegal seek"
    assert answer(output, "from a socket with an offset") == "EINVAL: Invalid argument"
    assert answer(output, "from a socket without one") == "5 bytes"
    assert answer(output, "from a socket to a file, no pipe") == "EINVAL: Invalid argument"


def test_a_child_has_little_memory_of_its_own_until_it_writes():
    done = run("copy_on_write.py", "--size", "16")
    assert (done.returncode, done.stderr) == (0, "")
    before, after = (float(figure) for figure in re.findall(r"([\d.]+) MiB$", done.stdout, re.MULTILINE))
    assert before < 8
    assert after >= 16
    assert "the first byte: 2 in the child, 1 in the parent" in done.stdout


@pytest.mark.parametrize("size", ["0", "-1", "1025", "many", ""])
def test_copy_on_write_refuses_a_bad_size(size):
    done = run("copy_on_write.py", f"--size={size}")
    assert done.returncode == 2
    assert "is not a size from 1 to 1024 MiB" in done.stderr.splitlines()[-1]

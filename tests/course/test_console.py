"""The reader and runner of handouts' console blocks, tested by themselves."""

import os
import subprocess
import time

import console
import pytest

PAGE = """# Page

```python
$ not a console
```

  ```console
  $ printf 'one\\ntwo\\n'
  one
  …
  $ exit 3 | exit 4   # exit status 4
  ```

```console no-run
$ nc 127.0.0.1 \\
> 9999
```
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def block(*commands: console.Command) -> console.Block:
    return console.Block(None, 1, True, commands)


def command(text: str) -> console.Command:
    return console.Command(text, None, 0)


def test_blocks_are_read(page):
    first, second = console.blocks(page)
    assert (first.line, first.is_run, second.is_run) == (7, True, False)
    assert first.commands == (
        console.Command("printf 'one\\ntwo\\n'", ("one", "…"), 0),
        console.Command("exit 3 | exit 4", None, 4),
    )
    assert second.commands == (command("nc 127.0.0.1 9999"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```console later\n$ true\n```\n", "page.md:1: `console` is followed by 'later'"),
        ("```console\n```\n", "page.md:1: the block has no command"),
        ("```console\nhello\n$ true\n```\n", "page.md:1: 'hello' stands before the first command"),
    ],
)
def test_a_malformed_block_is_one_clear_line(page, text, says):
    page.write_text(text)
    with pytest.raises(console.ConsoleError, match=says):
        console.blocks(page)


@pytest.mark.parametrize(
    ("expected", "printed", "is_match"),
    [
        (["a"], ["a"], True),
        (["a"], ["a  "], True),
        (["a"], ["a", "b"], False),
        (["a", "b"], ["a"], False),
        (["a.c"], ["abc"], False),
        (["process …, count …"], ["process 17, count 1"], True),
        (["process …"], ["child 17"], False),
        (["a", "…"], ["a"], True),
        (["a", "…", "c"], ["a", "b", "b", "c"], True),
        (["a", "…", "c"], ["a", "b"], False),
        (["…", "c", "…"], ["c"], True),
        (["…"], [], True),
        (["a … b"], ["a", "b"], False),
    ],
)
def test_matching(expected, printed, is_match):
    assert console.matches(tuple(expected), printed) is is_match


def test_many_ellipses_over_a_long_output_match_quickly():
    started = time.monotonic()
    assert not console.matches(("…", "x", "…", "y", "…", "z"), ["x", "y"] * 300)
    assert time.monotonic() - started < 10


def test_commands_run_in_one_shell_with_both_outputs(tmp_path):
    done = console.run(
        block(command("x=5; cd /"), command("echo $x; pwd >&2; printf end"), command("false")),
        tmp_path,
        dict(os.environ),
        10,
    )
    assert done == [(0, []), (0, ["5", "/", "end"]), (1, [])]


def test_a_block_that_does_not_end_is_ended_with_all_it_started(tmp_path):
    with pytest.raises(subprocess.TimeoutExpired):
        console.run(block(command("sleep 600 & echo $! > pid; wait")), tmp_path, dict(os.environ), 3)
    deadline = time.monotonic() + 10
    while runs(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < deadline, "the background process is still there"


def runs(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_shell_that_ends_early_is_told(tmp_path):
    with pytest.raises(console.ConsoleError, match="bash ended at command 2"):
        console.run(block(command("true"), command("exit 0"), command("true")), tmp_path, dict(os.environ), 10)


def test_complaints():
    wanted = console.Command("x", ("a",), 0)
    assert console.complaint(wanted, 0, ["a"]) is None
    assert "ended with exit status 2, not 0" in console.complaint(wanted, 2, ["a"])
    assert "printed something else" in console.complaint(wanted, 0, ["b"])

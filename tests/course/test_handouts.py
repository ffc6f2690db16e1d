"""Guard: what handouts tell a reader to type works, and prints what they show; what they link to is there."""

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys

import console
import digests
import pytest
from tree import IN_CI, ROOT, built_labs, files_under, leveled_headings, relative

BLOCK_SECONDS = 90
COPIED_STAMPS = (".ready-base", ".ready-notebooks", ".ready-lint")
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".chatlab", "__pycache__", "grades", "build", "*.egg-info", ".*_cache"
)

# What `console no-run` is for. A block that is not run has only such commands.
NOT_RUN = {
    r"git clone |cd ": "needs the repository's address",
    r"make notebook$": "opens JupyterLab and waits",
    r"make (watch|progress-watch)$|chatlab watch": "waits for saves",
    r"make (test|stress|bench|notebooks|test-notebooks)\b": "runs for minutes, or runs these very tests",
    r"(\.venv/bin/)?pytest\b": "runs for minutes, or runs these very tests",
    r"make grade|chatlab grade": "needs submissions",
    r"(sudo )?(apt|apt-get|dnf|pacman) ": "needs to be root",
    r"(nc|ncat|socat|telnet) ": "waits for what is typed",
    r"python3? labs/\S+_server\.py": "runs until it is stopped",
    r"make chat$|chatlab chat": "runs until it is stopped",
    r"(PYTHON=\S+ )?make (environment|lab-N|check-N)": "changes the environment, or stands for a number",
}
# Commands whose output depends on how far a student has come.
DEPENDS_ON_STUBS = re.compile(r"\b(check|progress|hint|why)\b")

HANDOUTS = [path for path in (ROOT / "README.md", *files_under("labs", "docs", suffix=".md")) if path.is_file()]


def all_blocks() -> list[console.Block]:
    """Every console block of every handout; a handout with a malformed one has none here, and fails its own test."""
    found = []
    for path in HANDOUTS:
        with contextlib.suppress(console.ConsoleError):
            found += console.blocks(path)
    return found


def name(block: console.Block) -> str:
    return f"{relative(block.path)}:{block.line}"


each_handout = pytest.mark.parametrize("path", HANDOUTS, ids=relative)
each_run_block = pytest.mark.parametrize("block", [block for block in all_blocks() if block.is_run], ids=name)
each_kept_block = pytest.mark.parametrize("block", [block for block in all_blocks() if not block.is_run], ids=name)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the course to type one block's commands in, with the environment of the real one.

    Its .venv is made of links to the real one's entries, with fresh stamps: `make` finds it ready and never installs.
    """
    copy = tmp_path / "chatlab"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT, symlinks=True)
    (copy / ".venv").mkdir()
    for entry in (ROOT / ".venv").iterdir():
        if not entry.name.startswith(".ready-"):
            (copy / ".venv" / entry.name).symlink_to(entry)
    for stamp in COPIED_STAMPS:
        (copy / ".venv" / stamp).touch()
    return copy


def environment(checkout) -> dict[str, str]:
    """What a student's terminal has: this environment without what pytest, Python and CI put into it."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "PYTEST", "CHATLAB_"))
        and key not in ("CI", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")
    }
    return kept | {"PATH": f"{checkout / '.venv' / 'bin'}:{kept['PATH']}", "COLUMNS": "120", "LC_ALL": "C.UTF-8"}


@each_handout
def test_console_blocks_have_their_form(path):
    console.blocks(path)


@each_run_block
def test_commands_print_what_the_handout_shows(block, checkout):
    touched = [lab.folder for lab in built_labs() if digests.is_touched(lab.folder)]
    if touched and any(DEPENDS_ON_STUBS.search(command.text) for command in block.commands):
        assert not IN_CI, f"labs/{touched[0]}/exercises.py is not the one recorded in course.toml"
        pytest.skip(f"labs/{touched[0]}/exercises.py is not the untouched one: a student is at work")
    results = console.run(block, checkout, environment(checkout), BLOCK_SECONDS)
    complaints = [
        console.complaint(command, status, printed)
        for command, (status, printed) in zip(block.commands, results, strict=True)
    ]
    assert not any(complaints), f"correct {name(block)}, or the program:\n" + "\n".join(filter(None, complaints))


@each_kept_block
def test_blocks_that_are_not_run_have_a_reason(block):
    bare = [command.text for command in block.commands if not any(re.match(p, command.text) for p in NOT_RUN)]
    assert not bare, f"{name(block)} is marked no-run, but {bare} can be run: unmark it, or give a reason in NOT_RUN"


def prose(path) -> str:
    """A handout without its fenced blocks."""
    return re.sub(r"(?ms)^ *```.*?^ *```\s*$", "", path.read_text(encoding="utf-8"))


def code_spans(path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(path))


@functools.cache
def make_targets() -> tuple[re.Pattern, ...]:
    """The targets of the Makefile as patterns; its % stands for anything."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = re.findall(r"(?m)^([A-Za-z][\w%. -]*?):(?!=)", text)
    names = [target for rule in rules for target in rule.split() if not target.startswith(".")]
    return tuple(re.compile(re.escape(target).replace("%", r"[\w.]+")) for target in names)


@each_handout
def test_make_targets_in_prose_exist(path):
    for span in code_spans(path):
        if match := re.match(r"(?:\w+=\S+ )*make ([\w.%-]+)", span):
            wanted = re.sub(r"-N$", "-1", match[1])  # `make lab-N` stands for each of them
            found = any(target.fullmatch(wanted) for target in make_targets())
            assert found, f"{relative(path)} names `{span}`: the Makefile has no target {match[1]}"


@functools.cache
def asked_for_help(command: str) -> tuple[int, str]:
    """Exit status and output of `chatlab COMMAND --help`."""
    done = subprocess.run(
        [sys.executable, "-m", "chatlab", command, "--help"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@each_handout
def test_subcommands_in_prose_exist(path):
    for span in code_spans(path):
        if match := re.match(r"(?:\.venv/bin/)?chatlab ([a-z][\w-]*)", span):
            status, said = asked_for_help(match[1])
            assert status == 0, f"{relative(path)} names `{span}`; chatlab {match[1]} --help: {said}"


@each_handout
def test_programs_in_prose_exist(path):
    for span in code_spans(path):
        for word in re.findall(r"(?:labs|docs|solutions|notebooks|tests|benchmarks)/[\w./-]+\.\w+", span):
            if not re.search(r"NN|\*", word):
                assert (ROOT / word).exists(), f"{relative(path)} names `{span}`: {word} is not there"


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@each_handout
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        goal = (path.parent / file).resolve() if file else path
        assert goal.exists(), f"{relative(path)} links to {target}: it is not there"
        if anchor and goal.suffix == ".md":
            anchors = {slug(words) for _, words in leveled_headings(goal.read_text(encoding="utf-8"))}
            assert anchor in anchors, f"{relative(path)} links to {target}: {relative(goal)} has no such heading"


def test_every_built_lab_has_a_handout_with_commands_that_are_run():
    for lab in built_labs():
        assert (ROOT / lab.handout).is_file(), f"{lab.handout} is missing"
        run = [block for block in console.blocks(ROOT / lab.handout) if block.is_run]
        assert run, f"{lab.handout} shows no command that is run: give it a ```console block"


def test_the_helpers_read_what_people_write():
    assert slug("Zombies, and `waitpid`") == "zombies-and-waitpid"
    assert any(target.fullmatch("check-1.2") for target in make_targets())
    assert not any(target.fullmatch("no-such-target") for target in make_targets())

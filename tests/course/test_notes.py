"""Guard: every row of docs/notes.md has its form, and everything it names is there."""

import functools
import os
import re
import subprocess
import sys

import notes
import pytest
from tree import ROOT, built_labs, course, headings, leveled_headings

HELP_SECONDS = 20
SECTION_LETTERS = {
    "The chat room": "R",
    "The client": "C",
    "The server in one process": "S",
    "The server with a process for each client": "M",
    "fork": "F",
    "socketpair": "P",
}


@functools.cache
def rows() -> list[notes.Row]:
    return notes.read(ROOT / notes.PATH)


def named(kind: str) -> list[tuple[notes.Row, tuple[str, ...]]]:
    """The references of one kind, each with its row."""
    return [(row, reference.words) for row in rows() for reference in row.shown_by if reference.kind == kind]


@functools.cache
def printed_by(program: str, *arguments: str) -> str:
    """What `program` prints on both outputs, run by this Python."""
    done = subprocess.run(
        [sys.executable, ROOT / program, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=HELP_SECONDS,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"COLUMNS": "200"},
    )
    return done.stdout


def knows(text: str, word: str) -> bool:
    """Whether `word` stands in a help text or a list as a word of its own."""
    return bool(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text))


def complaint(row: notes.Row, program: str, arguments: tuple[str, ...]) -> str | None:
    """Why `program` cannot be run as a row says, or None."""
    if not (ROOT / program).is_file():
        return f"{row.row}: {program} is not there"
    if not arguments:
        return None
    offered = printed_by(program, "-h") + (printed_by(program) if program.endswith("/pitfalls.py") else "")
    missing = [word for word in arguments if not word.isdecimal() and not knows(offered, word)]
    return f"{row.row}: {program} -h does not know {', '.join(missing)}" if missing else None


def test_the_sections_stand_in_the_notes_order():
    found = [words for level, words in leveled_headings((ROOT / notes.PATH).read_text()) if level == 2]
    assert found == [*SECTION_LETTERS, "Signals"], f"keep the sections of {notes.PATH} in the notes' order"


@pytest.mark.parametrize(("section", "letter"), SECTION_LETTERS.items())
def test_row_names_count_from_1(section, letter):
    found = [row.row for row in rows() if row.section == section]
    assert found == [f"{letter}{place}" for place in range(1, len(found) + 1)], (
        f"number the rows of {section!r} {letter}1, {letter}2, … and put a new one at the end: the names are stable"
    )
    assert found, f"section {section!r} of {notes.PATH} has no rows"


def test_verdicts_hold_or_correct():
    wrong = [row.row for row in rows() if not re.fullmatch(r"holds|corrected: \S.*\.", row.verdict)]
    assert not wrong, f"rows {wrong}: the verdict must be `holds` or `corrected: ` and a sentence with its full stop"


def test_statements_are_sentences_and_different():
    assert not [row.row for row in rows() if not row.statement.endswith(".")], "end each statement with a full stop"
    statements = [row.statement for row in rows()]
    assert len(statements) == len(set(statements)), "two rows state the same: merge them"


def test_commands_named_exist_and_know_their_options():
    complaints = [complaint(row, words[0], words[1:]) for row, words in named("command")]
    assert not any(complaints), f"correct {notes.PATH}: " + "; ".join(filter(None, complaints))


def test_exercises_named_exist():
    known = {exercise.id for exercise in course().exercises}
    missing = [f"{row.row}: {words[0]}" for row, words in named("exercise") if words[0] not in known]
    assert not missing, f"course.toml has no such exercise: {missing}"


def test_notebook_headings_named_exist():
    nbformat = pytest.importorskip("nbformat")
    for row, (path, heading) in named("heading"):
        assert (ROOT / path).is_file(), f"{row.row}: {path} is not there"
        cells = nbformat.read(ROOT / path, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert heading in [words for _, words in leveled_headings(text)], (
            f"{row.row}: {path} has no heading {heading!r}"
        )


def test_no_row_waits_for_a_lab_that_is_built():
    built = {lab.number for lab in built_labs()}
    late = [row.row for row in rows() if built & set(row.open_labs)]
    assert not late, f"rows {late} of {notes.PATH} wait for a lab that is built: name what shows them there"


def test_open_rows_wait_for_labs_of_the_course():
    known = {lab.number for lab in course().labs}
    wrong = [row.row for row in rows() if set(row.open_labs) - known]
    assert not wrong, f"rows {wrong} of {notes.PATH} wait for a lab that course.toml does not have"


def test_the_page_is_linked_from_the_readme():
    assert notes.PATH in (ROOT / "README.md").read_text(), f"README.md should lead its readers to {notes.PATH}"


def test_headings_inside_fences_are_none(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n```console\n# not one\n```\n## Two ##\n")
    assert headings(page) == ["One", "Two"]


TABLE = """## fork
| row | the notes say | verdict | shown by |
| --- | --- | --- | --- |
| F1 | fork returns twice. | holds | `labs/01_fork/fork_demo.py --part returns`; exercise 1.2 |
| F2 | It copies. | corrected: later. | `notebooks/01_fork.ipynb`, "Trace"; open: lab 05 |
"""


def test_rows_are_read():
    first, second = notes.parse(TABLE)
    assert (first.section, first.row, first.statement, first.verdict) == ("fork", "F1", "fork returns twice.", "holds")
    assert first.shown_by == (
        notes.Reference("command", ("labs/01_fork/fork_demo.py", "--part", "returns")),
        notes.Reference("exercise", ("1.2",)),
    )
    assert second.shown_by[0] == notes.Reference("heading", ("notebooks/01_fork.ipynb", "Trace"))
    assert second.open_labs == [5]
    assert notes.summary([first, second]) == "docs/notes.md: 1 of 2 statements of the notes are shown; open: lab 05 1"


@pytest.mark.parametrize(
    ("line", "says"),
    [("| F1 | a. | holds |", "has 3 cells, not 4"), ("| F1 | a. | holds | lab 3 |", "row F1: 'lab 3' is none of")],
)
def test_a_malformed_row_is_one_clear_line(line, says):
    with pytest.raises(notes.NotesError, match=says):
        notes.parse(line)


def test_an_option_is_known_as_a_whole_word_only():
    assert knows("usage: x [--part {returns,race}]", "returns")
    assert not knows("usage: x [--part-size N]", "--part")

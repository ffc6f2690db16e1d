"""docs/notes.md as data: one `Row` for each statement of the notes, and what each row points at.

`python tests/course/notes.py` prints how many rows are still open, by lab, and which.
"""

import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PATH = "docs/notes.md"
HEADER = ["row", "the notes say", "verdict", "shown by"]


class NotesError(Exception):
    """A table of docs/notes.md is not in its form; str() is one line with the cure."""


@dataclass(frozen=True)
class Reference:
    """One thing that shows a statement.

    `kind` is "command" (`words`: a path and its options), "exercise" (`words`: its id), "heading" (`words`: a notebook
    and one of its headings) or "open" (`words`: the number of the lab that will show it).
    """

    kind: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One statement: `row` is its stable name, such as "F11"; `verdict` is "holds" or "corrected: …"."""

    section: str
    row: str
    statement: str
    verdict: str
    shown_by: tuple[Reference, ...]

    @property
    def open_labs(self) -> list[int]:
        """The numbers of the labs that this row still waits for."""
        return [int(reference.words[0]) for reference in self.shown_by if reference.kind == "open"]


_SHAPES = {
    "heading": re.compile(r'`(notebooks/[^` ]+\.ipynb)`, "([^"]+)"'),
    "command": re.compile(r"`([^`]+)`"),
    "exercise": re.compile(r"exercise (\d+\.\d+)"),
    "open": re.compile(r"open: lab (\d\d)"),
}


def parse_reference(text: str) -> Reference:
    """Read one entry of the last column. Raises NotesError."""
    for kind, shape in _SHAPES.items():
        if match := shape.fullmatch(text.strip()):
            words = match[1].split() if kind == "command" else match.groups()
            return Reference(kind, tuple(words))
    raise NotesError(
        f'{text.strip()!r} is none of `path --option`, exercise 1.2, `notebooks/NN.ipynb`, "heading", open: lab 05'
    )


def parse_row(section: str, line: str) -> Row:
    """Read one line of a table. Raises NotesError."""
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    if len(cells) != len(HEADER):
        raise NotesError(f"{line[:60]!r} has {len(cells)} cells, not {len(HEADER)}: {', '.join(HEADER)}")
    row, statement, verdict, shown_by = cells
    try:
        references = tuple(parse_reference(part) for part in shown_by.split(";"))
    except NotesError as error:
        raise NotesError(f"row {row}: {error}") from None
    return Row(section, row, statement, verdict, references)


def parse(markdown: str) -> list[Row]:
    """Read all tables. Raises NotesError."""
    rows, section = [], ""
    for line in markdown.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip()
        elif line.startswith("| ") and not line.startswith((f"| {HEADER[0]} |", "| --- |")):
            rows.append(parse_row(section, line))
    return rows


def read(path: Path) -> list[Row]:
    """Read the tables of the file at `path`. Raises NotesError."""
    return parse(path.read_text(encoding="utf-8"))


def summary(rows: list[Row]) -> str:
    """One line: how many statements are shown, and how many wait for which lab."""
    waiting = Counter(number for row in rows for number in set(row.open_labs))
    shown = sum(not row.open_labs for row in rows)
    still = ", ".join(f"lab {number:02} {count}" for number, count in sorted(waiting.items())) or "none"
    return f"{PATH}: {shown} of {len(rows)} statements of the notes are shown; open: {still}"


def main() -> int:
    """Print the open rows and return the exit status."""
    try:
        rows = read(Path(__file__).resolve().parents[2] / PATH)
    except NotesError as error:
        print(f"{PATH}: {error}", file=sys.stderr)
        return 1
    for row in rows:
        if row.open_labs:
            print(f"{row.row:4} lab {row.open_labs[0]:02}  {row.statement}")
    print(summary(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

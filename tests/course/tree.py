"""Where the course's files are, and the small questions that several guards ask about them."""

import ast
import functools
import os
import re
from pathlib import Path

import digests
import pytest

from chatlab.course import Course, Exercise, load

ROOT = Path(__file__).resolve().parents[2]
WRONG_ANSWERS = ROOT / "tests" / "wrong_answers"
JUDGES = ROOT / "tests" / "exercises"
IN_CI = bool(os.environ.get("CI"))


@functools.cache
def course() -> Course:
    """The manifest of this checkout."""
    return load(ROOT)


def built_labs() -> list:
    """The labs that have exercises."""
    return [lab for lab in course().labs if course().exercises_of(lab.number)]


def relative(path: Path) -> str:
    """`path` as people write it: from the course's root."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def skip_if_a_student_is_at_work(folder: str) -> None:
    """Skip, saying so, where a lab's exercises.py is not the untouched one; in CI that is a failure."""
    if not digests.is_touched(folder):
        return
    words = f"labs/{folder}/exercises.py is not the one that course.toml records"
    if IN_CI:
        pytest.fail(f"{words}: restore it, or record it with python tests/course/digests.py --write")
    pytest.skip(f"{words}: a student is at work")


def files_under(*folders: str, suffix: str = "") -> list[Path]:
    """The files below these folders of the course, without caches and hidden ones, which no one wrote."""
    found = [path for folder in folders for path in (ROOT / folder).rglob(f"*{suffix}") if path.is_file()]
    return sorted(path for path in found if not _is_made_by_a_tool(path.relative_to(ROOT).parts))


def _is_made_by_a_tool(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in parts)


@functools.cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def defined_names(module: ast.Module) -> list[str]:
    """The names that a module defines at its top level, in order: functions, classes and constants."""
    return [name for node in module.body for name in names_of(node)]


def names_of(node: ast.stmt) -> list[str]:
    """The names that one top-level statement defines; imports define none here."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [child.id for target in targets for child in ast.walk(target) if isinstance(child, ast.Name)]


def headings(path: Path) -> list[str]:
    """The headings of a Markdown file, without their marks; lines inside of fences are none."""
    return [text for _, text in leveled_headings(path.read_text(encoding="utf-8"))]


def leveled_headings(markdown: str) -> list[tuple[int, str]]:
    """The headings of Markdown text as (level, words)."""
    found, fence = [], None
    for line in markdown.splitlines():
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and fence is None:
            fence = mark[1]
        elif mark and line.strip().startswith(fence):
            fence = None
        elif fence is None and (heading := re.match(r"(#{1,6})\s+(.*?)\s*#*$", line)):
            found.append((len(heading[1]), heading[2]))
    return found


def checks_of(exercise: Exercise) -> dict[str, str]:
    """The checks of an exercise's judge: the test functions, each with its title (its docstring's first line)."""
    return {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0].strip()
        for node in ast.walk(parse(exercise.judge))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }

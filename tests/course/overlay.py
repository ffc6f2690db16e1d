"""Wrong answers: a solution with a few of its definitions replaced by those of a plausible mistake.

`python tests/course/overlay.py FILE` prints the exercises.py that a wrong answer makes, to read it or to judge it.
"""

import ast
import builtins
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tree import ROOT, WRONG_ANSWERS, course, names_of

CHECK, SAYS = "check:", "says:"


class OverlayError(Exception):
    """A wrong answer is not in its form; str() is one line with the cure."""


@dataclass(frozen=True)
class WrongAnswer:
    """One plausible mistake: `mistake` in words, the `check` that must fail, a piece of what the feedback `says`."""

    path: Path
    mistake: str
    check: str
    says: str

    @property
    def exercise_id(self) -> str:
        return self.path.name.partition("_")[0]

    @property
    def folder(self) -> str:
        return self.path.parent.name

    @property
    def solution(self) -> Path:
        return ROOT / "solutions" / self.folder / "exercises.py"


def wrong_answer_paths() -> list[Path]:
    """The files of all wrong answers."""
    return sorted(WRONG_ANSWERS.glob("*/*.py"))


def read(path: Path) -> WrongAnswer:
    """Read a wrong answer's docstring. Raises OverlayError."""
    if not re.fullmatch(r"\d+\.\d+_[a-z0-9_]+\.py", path.name):
        raise OverlayError(f"{path.name}: name it after its exercise and its mistake, such as 1.2_one_waitpid.py")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    lines = docstring.splitlines()
    found = {
        key: [line.strip().removeprefix(key).strip() for line in lines if line.strip().startswith(key)]
        for key in (CHECK, SAYS)
    }
    if not lines or not lines[0].strip() or any(len(values) != 1 or not values[0] for values in found.values()):
        raise OverlayError(
            f"{path.name}: its docstring needs a first line that tells the mistake,"
            f" then one line `{CHECK} test_…` and one line `{SAYS} …`"
        )
    return WrongAnswer(path, lines[0].strip(), found[CHECK][0], found[SAYS][0])


@dataclass(frozen=True)
class _Piece:
    """Lines first to last (counted from 0, last excluded) of a source, which define `names`."""

    names: frozenset[str]
    first: int
    last: int


def _pieces(source: str) -> list[_Piece]:
    """The top-level definitions of a source with the lines that they take, decorators included."""
    return [
        _Piece(frozenset(names_of(node)), _first_line(node) - 1, node.end_lineno)
        for node in ast.parse(source).body
        if names_of(node)
    ]


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def _imports(source: str) -> list[str]:
    """The top-level import statements of a source."""
    return [ast.unparse(node) for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]


def _end_of_head(source: str) -> int:
    """How many lines the docstring and the `from __future__` imports of a source take."""
    end = 0
    for node in ast.parse(source).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_docstring and not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        end = node.end_lineno
    return end


def replaced_names(wrong: str) -> frozenset[str]:
    """The names that the source of a wrong answer defines."""
    return frozenset(name for piece in _pieces(wrong) for name in piece.names)


def overlay(solution: str, wrong: str) -> str:
    """Return the solution's source with the definitions of `wrong` in the place of those of the same name.

    Helpers that only `wrong` has come before the first definition replaced; its imports come on top.
    Raises OverlayError when nothing would be replaced, or when one statement defines a replaced name and another.
    """
    new_names = replaced_names(wrong)
    wrong_lines = wrong.splitlines()
    by_names: dict[frozenset[str], list[str]] = {}
    for piece in _pieces(wrong):
        by_names.setdefault(piece.names, []).extend([*wrong_lines[piece.first : piece.last], "", ""])
    old = [piece for piece in _pieces(solution) if piece.names & new_names]
    if not old:
        raise OverlayError(
            f"it replaces nothing: the solution defines none of {', '.join(sorted(new_names)) or '(none)'}"
        )
    for piece in old:
        if piece.names - new_names:
            raise OverlayError(
                f"one statement of the solution defines {', '.join(sorted(piece.names))}: replace all of them"
            )
    lines = solution.splitlines()
    for piece in reversed(old):
        lines[piece.first : piece.last] = []
    replacement = [line for block in by_names.values() for line in block]
    lines[old[0].first : old[0].first] = replacement
    head = _end_of_head(solution)
    return "\n".join([*lines[:head], *_imports(wrong), *lines[head:]]) + "\n"


def _used_names(node: ast.AST) -> set[str]:
    """The names and attribute names that a piece of code refers to."""
    used = {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
    return used | {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}


def reach(source: str, names: set[str]) -> set[str]:
    """The top-level names of `source` that these names refer to, directly or through others, themselves included."""
    uses: dict[str, set[str]] = {}
    for node in ast.parse(source).body:
        for name in names_of(node):
            uses.setdefault(name, set()).update(_used_names(node))
    reached, todo = set(), [name for name in names if name in uses]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo.extend(used for used in uses[name] if used in uses and not hasattr(builtins, used))
    return reached


def words_of_judge(judge: Path) -> set[str]:
    """The words in a judge's strings, docstrings left out: the names that it may call in the student's process."""
    module = ast.parse(judge.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None
    }
    texts = [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]
    return set(re.findall(r"[A-Za-z_]\w*", " ".join(texts)))


def exercises_that_build_on(answer: WrongAnswer, made: str) -> list:
    """The other exercises of the lab whose solution or judge refers to a definition that the wrong answer replaces."""
    wrong = replaced_names(answer.path.read_text(encoding="utf-8"))
    number = course().exercise(answer.exercise_id).lab.number
    return [
        exercise
        for exercise in course().exercises_of(number)
        if exercise.id != answer.exercise_id
        and reach(made, set(exercise.names) | words_of_judge(exercise.judge)) & wrong
    ]


def make(answer: WrongAnswer) -> str:
    """The source of the exercises.py that a wrong answer makes. Raises OverlayError."""
    try:
        return overlay(answer.solution.read_text(encoding="utf-8"), answer.path.read_text(encoding="utf-8"))
    except OverlayError as error:
        raise OverlayError(f"{answer.path.name}: {error}") from None


def main() -> int:
    """Print what a wrong answer makes and return the exit status."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: overlay.py tests/wrong_answers/01_fork/1.2_one_waitpid.py", file=sys.stderr)
        return 2
    try:
        print(make(read(Path(sys.argv[1]).resolve())), end="")
    except (OverlayError, OSError, SyntaxError) as error:
        print(f"overlay.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Guard: who may know whom. Labs stand alone, the kit never imports them, and inside the kit imports point leftward."""

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest
from tree import ROOT, course, files_under, parse, relative, skip_if_a_student_is_at_work

# A part imports itself, parts to its left, and the foundations.
FLOW = ["launch", "trace", "load", "plot", "judge", "grade"]
FOUNDATIONS = {"course", "procfs"}

# Imports that point rightward all the same, "importer imported": why.
RIGHTWARD = {
    "launch trace": "a program is started under strace, and its Launched.trace read, by the part that knows strace",
    "judge why": "a notebook's check keeps its traces where `why` looks for them",
}
# Every other module of the kit (the command line, the stories it tells) stands outside of the flow: it may import all
# of it, and nothing in the flow imports it.

FORKING = re.compile(
    r"os\.(fork|forkpty|posix_spawnp?)|pty\.(fork|spawn)|multiprocessing(\..+)?|(.+\.)?ProcessPoolExecutor"
)


def imported(path: Path) -> set[str]:
    """The modules that a file imports anywhere, by their full dotted names, `from x import y` as x and x.y."""
    package = relative(path).removesuffix(".py").removesuffix("/__init__").split("/")
    if path.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def roots(path: Path) -> set[str]:
    """The first parts of what a file imports."""
    return {name.partition(".")[0] for name in imported(path)}


def modules_beside(folder: str, parent: str = "labs") -> set[str]:
    """The names of the modules in a lab's folder."""
    return {path.stem for path in (ROOT / parent / folder).glob("*.py")}


def modules_of_earlier_labs(folder: str) -> set[str]:
    """The programs of the labs before this one."""
    earlier = [lab.folder for lab in course().labs if lab.folder < folder]
    return {name for other in earlier for name in modules_beside(other)} - {"exercises", "pitfalls"}


def part_of(module: str) -> str | None:
    """The part of the kit that a dotted name belongs to: "trace" for chatlab.trace.records; None: not of the kit."""
    words = module.split(".")
    return None if words[0] != "chatlab" else words[1] if len(words) > 1 else ""


def parts_imported(path: Path) -> set[str]:
    """The parts of the kit that a file of the kit imports; names that `chatlab` itself lends are followed home."""
    from chatlab import _HOME

    parts = set()
    for name in imported(path):
        part = part_of(name)
        parts.add(part_of(_HOME[part]) if part in _HOME else part)
    return parts - {None, ""}


each_lab_file = pytest.mark.parametrize("path", files_under("labs", "solutions", suffix=".py"), ids=relative)
each_kit_file = pytest.mark.parametrize("path", files_under("chatlab", suffix=".py"), ids=relative)


@each_lab_file
def test_labs_import_the_standard_library_and_their_own_folder(path):
    folder = path.parent.name
    if path == ROOT / "labs" / folder / "exercises.py":
        skip_if_a_student_is_at_work(folder)
    allowed = sys.stdlib_module_names | modules_beside(folder) | modules_of_earlier_labs(folder)
    foreign = roots(path) - allowed
    assert not foreign, (
        f"{relative(path)} imports {sorted(foreign)}: labs/ and solutions/ use the standard library, their own folder"
        " and earlier labs' programs, so that each runs on a bare Python"
    )


@each_kit_file
def test_the_kit_starts_labs_and_never_imports_them(path):
    programs = {name for lab in course().labs for name in modules_beside(lab.folder)}
    foreign = roots(path) & ({"labs", "solutions", "tests"} | programs)
    assert not foreign, f"{relative(path)} imports {sorted(foreign)}: start it as a process instead"


@each_kit_file
def test_parts_of_the_kit_import_leftward(path):
    own = part_of(relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    if own in FOUNDATIONS:
        foreign = parts_imported(path) - FOUNDATIONS
        assert not foreign, f"{relative(path)} is a foundation: it may not import chatlab's {sorted(foreign)}"
    elif own in FLOW:
        allowed = {*FOUNDATIONS, *FLOW[: FLOW.index(own) + 1]}
        allowed |= {pair.split()[1] for pair in RIGHTWARD if pair.split()[0] == own}
        foreign = parts_imported(path) - allowed
        assert not foreign, (
            f"{relative(path)} imports chatlab's {sorted(foreign)}: only what is left of {own} in {FLOW}"
        )


def test_the_exceptions_are_needed():
    pairs = {
        f"{path.relative_to(ROOT).parts[1]} {part}"
        for path in files_under("chatlab", suffix=".py")
        for part in parts_imported(path)
    }
    unneeded = set(RIGHTWARD) - pairs
    assert not unneeded, f"take {sorted(unneeded)} off RIGHTWARD: nothing imports that way now"


def names_used(source: str) -> set[str]:
    """What a cell imports and reaches by dotted names; lines for IPython (% and !) are not Python."""
    python = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    used = set()
    for node in ast.walk(ast.parse(python)):
        if isinstance(node, ast.Attribute):
            used.add(ast.unparse(node))
        elif isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            used |= {f"{node.module}.{alias.name}" for alias in node.names}
    return used


@pytest.mark.parametrize("path", files_under("notebooks", suffix=".ipynb"), ids=relative)
def test_notebooks_never_fork_in_the_kernel(path):
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, start=1):
        used = names_used(cell.source) if cell.cell_type == "code" else set()
        forking = sorted(filter(FORKING.fullmatch, used))
        assert not forking, f"{relative(path)}, cell {number} uses {forking}: fork in a program that it launches"


@pytest.mark.parametrize(
    ("source", "forks"),
    [
        ("%matplotlib inline\nif os.fork() == 0:\n    pass", True),
        ("def later():\n    from os import fork", True),
        ("import multiprocessing", True),
        ("from multiprocessing import Pool", True),
        ("from concurrent.futures import ProcessPoolExecutor", True),
        ("(fork,) = trace.named('fork')\nfork.time", False),
        ("run('labs/01_fork/fork_demo.py')", False),
    ],
)
def test_forks_are_found(source, forks):
    assert any(map(FORKING.fullmatch, names_used(source))) is forks


def test_the_parts_of_the_kit_are_known():
    assert part_of("chatlab.trace.records") == "trace"
    assert part_of("chatlab") == ""
    assert part_of("json") is None

"""Guard: every notebook has its form, was run, and is the same as its text; the guard compares and never syncs."""

import ast
import functools
import os
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from tree import ROOT, built_labs, files_under, leveled_headings, relative

from chatlab import rebuild

FORM = [
    "objectives",
    "predict",
    "launch",
    "trace",
    "plot",
    "explain",
    "break it",
    "your turn",
    "going further",
]
KERNEL = "chatlab"
PICTURE = "image/png"
FORBIDDEN_MARKS = ("NBVAL_SKIP", "nbval-skip", "raises-exception", "NBVAL_RAISES_EXCEPTION")
FIGURE_CALLS = {"descriptor_timeline", "process_tree", "sequence_chart", "byte_path", "subplots", "figure"}
CHECK_LINE = re.compile(r"(?m)^(\d+\.\d+) .+  (\d+)/(\d+)$")
REBUILD = "change its text under notebooks/text and run `make notebooks`"

NOTEBOOKS = files_under("notebooks", suffix=".ipynb")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=relative)


def is_as_rebuilt(path: Path) -> bool:
    """Whether a notebook's cells are those that `make notebooks` wrote: a student's run or edit changes them."""
    return read(path).metadata.get("chatlab", {}).get("sha256") == rebuild.digest(read(path))


@pytest.fixture(autouse=True)
def leave_a_student_at_work(request):
    """Her own runs are no fault of the course: skipped, saying so, but never in CI."""
    path = request.node.callspec.params.get("path") if hasattr(request.node, "callspec") else None
    if path is not None and "CI" not in os.environ and not is_as_rebuilt(path):
        pytest.skip(f"{relative(path)} was run or edited since it was rebuilt: `make notebooks` writes it anew")


@functools.cache
def read(path: Path):
    return nbformat.read(path, as_version=4)


def text_of(path: Path) -> Path:
    """The text that a notebook is paired with."""
    return path.parent / "text" / f"{path.stem}.py"


def code_cells(path: Path) -> list:
    """(number in the notebook, cell) of each code cell with something in it."""
    cells = enumerate(read(path).cells, start=1)
    return [(number, cell) for number, cell in cells if cell.cell_type == "code" and cell.source.strip()]


def tree_of(cell) -> ast.Module:
    """The syntax tree of a code cell; lines for IPython (% and !) are left out."""
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in cell.source.splitlines()]
    return ast.parse("\n".join(lines))


def calls(cell) -> list[ast.Call]:
    """The calls that a cell makes when it is run: those inside of its own functions and classes are not among them."""
    found, todo = [], list(tree_of(cell).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            found.append(node)
        todo.extend(ast.iter_child_nodes(node))
    return found


def called_names(cell) -> set[str]:
    """The last names of what a cell calls: `subplots` for plt.subplots()."""
    functions = [call.func for call in calls(cell)]
    return {function.attr if isinstance(function, ast.Attribute) else ast.unparse(function) for function in functions}


def asserts(cell) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(tree_of(cell)))


def printed(cell) -> str:
    """What a cell's stored outputs hold as standard output."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def draws(cell) -> bool:
    """Whether a cell makes a figure, by what it calls or by what is stored."""
    pictures = any(PICTURE in output.get("data", {}) for output in cell.outputs)
    return pictures or bool(called_names(cell) & FIGURE_CALLS)


@pytest.mark.parametrize("lab", built_labs(), ids=lambda lab: lab.folder)
def test_a_built_lab_has_its_notebook(lab):
    path = ROOT / "notebooks" / f"{lab.folder}.ipynb"
    assert path.is_file(), f"{relative(path)} is missing: write notebooks/text/{lab.folder}.py and run `make notebooks`"


def test_every_text_has_its_notebook_and_the_reverse():
    texts = {path.stem for path in files_under("notebooks/text", suffix=".py")}
    stems = {path.stem for path in NOTEBOOKS}
    assert texts == stems, f"without their other half: {sorted(texts ^ stems)}; run `make notebooks`"


@each_notebook
def test_the_notebook_is_the_same_as_its_text(path):
    text = jupytext.read(text_of(path), fmt="py:percent")
    wanted = [(cell.cell_type, cell.source.strip()) for cell in text.cells]
    found = [(cell.cell_type, cell.source.strip()) for cell in read(path).cells]
    for number, (old, new) in enumerate(zip(found, wanted, strict=False), start=1):
        assert old == new, f"{relative(path)}, cell {number} is not what its text says: {REBUILD}"
    assert len(found) == len(wanted), f"{relative(path)} has {len(found)} cells, its text {len(wanted)}: {REBUILD}"


@each_notebook
def test_the_kernel_is_the_course_s(path):
    kernel = read(path).metadata.get("kernelspec", {}).get("name")
    assert kernel == KERNEL, f"{relative(path)} names the kernel {kernel!r}, not {KERNEL!r}: {REBUILD}"


@each_notebook
def test_the_headings_follow_the_form(path):
    markdown = "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    second = [re.sub(r"^[\d.]+\s*", "", words).lower() for level, words in leveled_headings(markdown) if level == 2]
    assert len(second) == len(FORM) and all(map(str.startswith, second, FORM)), (
        f"the second-level headings of {relative(path)} are {second}; they must begin with {FORM}, in this order"
    )


@each_notebook
def test_every_code_cell_was_run_in_order(path):
    counts = [cell.execution_count for _, cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), (
        f"{relative(path)} was not run from top to bottom ({counts}): run `make notebooks`"
    )


@each_notebook
def test_nothing_is_skipped_and_nothing_went_wrong(path):
    for number, cell in code_cells(path):
        where = f"{relative(path)}, cell {number}"
        marks = [mark for mark in FORBIDDEN_MARKS if mark in cell.source or mark in cell.metadata.get("tags", [])]
        assert not marks, f"{where} is marked {marks}: nbval would compare nothing"
        errors = [output.ename for output in cell.outputs if output.output_type == "error"]
        assert not errors, f"{where} stores the error {errors}: correct it and run `make notebooks`"


@each_notebook
def test_what_is_printed_is_stored(path):
    for number, cell in code_cells(path):
        if "print" in called_names(cell):
            assert printed(cell), (
                f"{relative(path)}, cell {number} prints, and no output is stored: run `make notebooks`"
            )


@each_notebook
def test_beside_each_figure_stands_an_assertion(path):
    cells = code_cells(path)
    for place, (number, cell) in enumerate(cells):
        following = [later for _, later in cells[place + 1 : place + 2]]
        assert not draws(cell) or any(map(asserts, [cell, *following])), (
            f"{relative(path)}, cell {number} draws: pictures are not compared, so assert on its data there or in the"
            " next code cell"
        )


@each_notebook
def test_there_is_a_figure(path):
    assert any(draws(cell) for _, cell in code_cells(path)), f"{relative(path)} has no figure"


@each_notebook
def test_checks_store_full_points(path):
    for number, cell in code_cells(path):
        wanted = [
            argument.value
            for call in calls(cell)
            if ast.unparse(call.func) in ("check", "chatlab.check")
            for argument in call.args
            if isinstance(argument, ast.Constant)
        ]
        lines = {exercise: (points, full) for exercise, points, full in CHECK_LINE.findall(printed(cell))}
        for exercise in wanted:
            points, full = lines.get(exercise, (None, None))
            assert points is not None and points == full, (
                f"{relative(path)}, cell {number} stores {points}/{full} for {exercise}: the reference is the run with"
                " the solutions; run `make notebooks`"
            )


@pytest.mark.parametrize("lab", built_labs(), ids=lambda lab: lab.folder)
def test_the_notebook_checks_every_exercise_of_its_lab(lab):
    from tree import course

    path = ROOT / "notebooks" / f"{lab.folder}.ipynb"
    if not path.is_file():
        pytest.fail(f"{relative(path)} is missing")
    stored = {exercise for _, cell in code_cells(path) for exercise, _, _ in CHECK_LINE.findall(printed(cell))}
    missing = {exercise.id for exercise in course().exercises_of(lab.number)} - stored
    assert not missing, f"{relative(path)} checks no {sorted(missing)}: each exercise of the lab needs its line"


def cell(source: str, stdout: str = ""):
    """A code cell with this source and stored output, for the tests of this guard's own helpers."""
    outputs = [nbformat.v4.new_output("stream", name="stdout", text=stdout)] if stdout else []
    return nbformat.v4.new_code_cell(source, outputs=outputs)


def test_only_calls_that_run_count():
    assert called_names(cell("def later():\n    print(1)\nplt.subplots()")) == {"subplots"}
    assert draws(cell("ax = plot.process_tree(trace)"))
    assert not draws(cell("x = 1"))
    assert asserts(cell("%time x = 1\nassert x"))


def test_a_check_line_is_known():
    assert CHECK_LINE.findall("1.2 spawn and reap  3/3\n1.3 leave by _exit  0/2\n") == [
        ("1.2", "3", "3"),
        ("1.3", "0", "2"),
    ]
    assert not CHECK_LINE.findall("1.2 spawn and reap  0/3  not started\n")


@each_notebook
def test_it_is_as_it_was_rebuilt(path):
    assert is_as_rebuilt(path), f"{relative(path)} was changed by hand or run elsewhere: {REBUILD}"

"""The guard over notebooks, tested by itself: it holds for a good notebook, and each thing done wrong fails it."""

import copy

import jupytext
import nbformat
import pytest
import test_notebooks as guard
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

GUARDS = [
    guard.test_the_notebook_is_the_same_as_its_text,
    guard.test_the_kernel_is_the_course_s,
    guard.test_the_headings_follow_the_form,
    guard.test_every_code_cell_was_run_in_order,
    guard.test_nothing_is_skipped_and_nothing_went_wrong,
    guard.test_what_is_printed_is_stored,
    guard.test_beside_each_figure_stands_an_assertion,
    guard.test_there_is_a_figure,
    guard.test_checks_store_full_points,
]
HEADINGS = [new_markdown_cell(f"## {number}. {words.capitalize()}") for number, words in enumerate(guard.FORM, start=1)]


def printing(text: str) -> list:
    return [new_output("stream", name="stdout", text=text)]


def good():
    """A notebook as it should be: a printing cell, a figure with its assertion, a check with full points."""
    cells = [
        *HEADINGS[:5],
        new_code_cell('print("hello")', execution_count=1, outputs=printing("hello\n")),
        new_code_cell("ax = plot.process_tree(trace)", execution_count=2),
        new_code_cell("assert len(ax.lines) == 2", execution_count=3),
        *HEADINGS[5:],
        new_code_cell('check("1.2")', execution_count=4, outputs=printing("1.2 spawn and reap  3/3\n")),
    ]
    kernel = {"name": guard.KERNEL, "display_name": "chatlab", "language": "python"}
    return new_notebook(cells=copy.deepcopy(cells), metadata={"kernelspec": kernel})


def save(notebook, folder):
    """Write a notebook and its text as `make notebooks` leaves them; return the notebook's path."""
    path = folder / "01_good.ipynb"
    (folder / "text").mkdir(exist_ok=True)
    jupytext.write(notebook, guard.text_of(path), fmt="py:percent")
    nbformat.write(notebook, path)
    return path


def complaints(path) -> list[str]:
    """The names of the guards that do not hold for a notebook."""
    guard.read.cache_clear()
    found = []
    for hold in GUARDS:
        try:
            hold(path)
        except AssertionError:
            found.append(hold.__name__)
    return found


def code(notebook, place: int):
    """The code cell at this place."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"][place]


def other_kernel(notebook):
    notebook.metadata.kernelspec.name = "python3"


def headings_swapped(notebook):
    notebook.cells[0], notebook.cells[1] = notebook.cells[1], notebook.cells[0]


def heading_missing(notebook):
    del notebook.cells[0]


def cell_not_run(notebook):
    code(notebook, 1).execution_count = None


def output_missing(notebook):
    code(notebook, 0).outputs = []


def output_skipped(notebook):
    code(notebook, 0).source = "# NBVAL_SKIP\n" + code(notebook, 0).source


def tagged_to_raise(notebook):
    code(notebook, 0).metadata["tags"] = ["raises-exception"]


def error_stored(notebook):
    code(notebook, 1).outputs = [new_output("error", ename="OSError", evalue="no", traceback=[])]


def assertion_missing(notebook):
    code(notebook, 2).source = "len(ax.lines)"


def figure_missing(notebook):
    code(notebook, 1).source = "ax = None"


def points_missing(notebook):
    code(notebook, 3).outputs = printing("1.2 spawn and reap  0/3\n")


def not_started_stored(notebook):
    code(notebook, 3).outputs = printing("1.2 spawn and reap  0/3  not started\n")


WRONGS = {
    other_kernel: guard.test_the_kernel_is_the_course_s,
    headings_swapped: guard.test_the_headings_follow_the_form,
    heading_missing: guard.test_the_headings_follow_the_form,
    cell_not_run: guard.test_every_code_cell_was_run_in_order,
    output_missing: guard.test_what_is_printed_is_stored,
    output_skipped: guard.test_nothing_is_skipped_and_nothing_went_wrong,
    tagged_to_raise: guard.test_nothing_is_skipped_and_nothing_went_wrong,
    error_stored: guard.test_nothing_is_skipped_and_nothing_went_wrong,
    assertion_missing: guard.test_beside_each_figure_stands_an_assertion,
    figure_missing: guard.test_there_is_a_figure,
    points_missing: guard.test_checks_store_full_points,
    not_started_stored: guard.test_checks_store_full_points,
}


def test_a_good_notebook_holds(tmp_path):
    assert complaints(save(good(), tmp_path)) == []


@pytest.mark.parametrize(("wrong", "fails"), WRONGS.items(), ids=lambda function: function.__name__)
def test_a_wrong_notebook_fails(wrong, fails, tmp_path):
    notebook = good()
    wrong(notebook)
    assert complaints(save(notebook, tmp_path)) == [fails.__name__]


def test_a_notebook_that_differs_from_its_text_fails(tmp_path):
    path = save(good(), tmp_path)
    notebook = good()
    code(notebook, 0).source = 'print("hello again")'
    nbformat.write(notebook, path)
    assert complaints(path) == [guard.test_the_notebook_is_the_same_as_its_text.__name__]


def test_a_notebook_that_was_run_or_edited_is_known(tmp_path):
    path = save(good(), tmp_path)
    guard.read.cache_clear()
    assert not guard.is_as_rebuilt(path)  # nobody has signed it
    guard.rebuild.sign(path)
    guard.read.cache_clear()
    assert guard.is_as_rebuilt(path)
    edited = nbformat.read(path, as_version=4)
    edited.cells[5].outputs = printing("goodbye\n")
    nbformat.write(edited, path)
    guard.read.cache_clear()
    assert not guard.is_as_rebuilt(path)

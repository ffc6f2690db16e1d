"""The overlay of wrong answers over solutions, tested by itself."""

import ast

import overlay
import pytest
from tree import defined_names

SOLUTION = '''"""A solution."""

from __future__ import annotations

import os

LIMIT = 3


@decorated
def first():
    return helper()


def helper():
    return LIMIT


class Third:
    def method(self):
        return first()


LEFT, RIGHT = 1, 2
'''


def run(source: str) -> dict:
    names = {"decorated": lambda function: function}
    exec(compile(source, "made", "exec"), names)
    return names


def test_a_function_is_replaced_with_its_decorator():
    made = overlay.overlay(SOLUTION, '"""A mistake."""\n\n\ndef first():\n    return 8\n')
    assert run(made)["Third"]().method() == 8
    assert "@decorated" not in made
    assert sorted(defined_names(ast.parse(made))) == sorted(defined_names(ast.parse(SOLUTION)))


def test_a_constant_and_an_import_and_a_new_helper():
    made = run(overlay.overlay(SOLUTION, "import math\n\ndef four():\n    return math.gcd(8, 4)\n\nLIMIT = four()\n"))
    assert made["first"]() == 4


def test_two_definitions_of_one_name_are_kept_together_in_order():
    wrong = "def helper():\n    return 5\n\n\ndef helper():\n    return 6\n"
    assert run(overlay.overlay(SOLUTION, wrong))["first"]() == 6


def test_a_mistake_that_replaces_nothing_is_refused():
    with pytest.raises(overlay.OverlayError, match="it replaces nothing: the solution defines none of other"):
        overlay.overlay(SOLUTION, "def other():\n    pass\n")


def test_half_of_one_statement_cannot_be_replaced():
    with pytest.raises(overlay.OverlayError, match="LEFT, RIGHT: replace all of them"):
        overlay.overlay(SOLUTION, "LEFT = 2\n")


def test_what_a_definition_reaches():
    assert overlay.reach(SOLUTION, {"Third"}) == {"Third", "first", "helper", "LIMIT"}
    assert overlay.reach(SOLUTION, {"helper", "unknown"}) == {"helper", "LIMIT"}


def test_the_docstring_of_a_wrong_answer_is_read(tmp_path):
    path = tmp_path / "1.2_one_waitpid.py"
    path.write_text('"""One waitpid.\n\ncheck: test_reaped\nsays: one waitpid for many\n"""\n')
    answer = overlay.read(path)
    assert (answer.mistake, answer.check, answer.says) == ("One waitpid.", "test_reaped", "one waitpid for many")
    assert answer.exercise_id == "1.2"


@pytest.mark.parametrize("docstring", ["", "A mistake.", "A mistake.\ncheck: test_a", "A mistake.\ncheck:\nsays: b"])
def test_a_docstring_that_lacks_something_is_refused(tmp_path, docstring):
    path = tmp_path / "1.2_x.py"
    path.write_text(f'"""{docstring}"""\n')
    with pytest.raises(overlay.OverlayError, match=r"1\.2_x\.py: its docstring needs"):
        overlay.read(path)


def test_a_file_name_that_names_no_exercise_is_refused(tmp_path):
    with pytest.raises(overlay.OverlayError, match="name it after its exercise"):
        overlay.read(tmp_path / "one_waitpid.py")


def test_the_names_that_a_judge_calls_are_found_in_its_strings_only(tmp_path):
    judge = tmp_path / "test_9.py"
    judge.write_text(
        '"""About helper."""\ndef test_a(student):\n    """A first title."""\n    student.call("Third", x)\n'
    )
    assert overlay.words_of_judge(judge) == {"Third"}

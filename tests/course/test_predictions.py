"""The program that exercise 1.1 shows is the program that its judge runs."""

import ast

from tree import ROOT


def test_the_shown_program_is_the_judged_one():
    stub = (ROOT / "labs" / "01_fork" / "exercises.py").read_text(encoding="utf-8")
    shown = [line[1:].removeprefix("     ") for line in stub.splitlines() if line == "#" or line.startswith("#     ")]
    judge = ast.parse((ROOT / "tests" / "exercises" / "test_1_1_predict_processes_and_lines.py").read_text())
    programs = [
        node.value.value
        for node in judge.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PROGRAM"  # type: ignore[attr-defined]
    ]
    assert programs == ["\n".join(shown).strip() + "\n"], (
        "make the comment above PROCESSES and the judge's PROGRAM agree"
    )

"""The program that a prediction exercise shows is the program that its judge runs."""

import ast

import pytest
from tree import ROOT

SHOWN_AND_JUDGED = [
    ("01_fork", "test_1_1_predict_processes_and_lines.py"),
    ("04_poll_server", "test_4_1_predict_what_poll_says.py"),
    ("05_epoll_fork_shm", "test_5_3_break_the_one_slot_version.py"),
]


@pytest.mark.parametrize(("folder", "judge_name"), SHOWN_AND_JUDGED)
def test_the_shown_program_is_the_judged_one(folder, judge_name):
    stub = (ROOT / "labs" / folder / "exercises.py").read_text(encoding="utf-8")
    shown = [line[1:].removeprefix("     ") for line in stub.splitlines() if line == "#" or line.startswith("#     ")]
    judge = ast.parse((ROOT / "tests" / "exercises" / judge_name).read_text(encoding="utf-8"))
    programs = [
        node.value.value
        for node in judge.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PROGRAM"  # type: ignore[attr-defined]
    ]
    assert programs == ["\n".join(shown).strip() + "\n"], (
        f"make the comment in labs/{folder}/exercises.py and the PROGRAM of {judge_name} agree"
    )

"""Guard: course.toml, the folders, the stubs, the solutions, the judges and the handouts name the same exercises."""

import ast
import copy
import re

import overlay
import pytest
from tree import (
    JUDGES,
    ROOT,
    built_labs,
    checks_of,
    course,
    defined_names,
    files_under,
    headings,
    names_of,
    parse,
    relative,
    skip_if_a_student_is_at_work,
)

# Every file that a lab's folder may hold. A new program belongs into this list.
LAB_FILES = {"README.md", "exercises.py", "pitfalls.py"}
LAB_PROGRAMS = {
    "01_fork": {"fork_demo.py", "fork_server.py"},
    "02_socketpair": {"socketpair_demo.py"},
    "03_poll_client": {"poll_client.py"},
    "04_poll_server": {"poll_server.py"},
    "05_epoll_fork_shm": {"fork_shm_server.py", "shared_log.py"},
    "06_signals": {"signal_source.py", "chat_server.py"},
}
LABS = built_labs()
EXERCISES = course().exercises

each_lab = pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.folder)
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


def stubs(folder: str):
    return ROOT / "labs" / folder / "exercises.py"


def solution(folder: str):
    return ROOT / "solutions" / folder / "exercises.py"


def definitions(path, names: tuple[str, ...]) -> list[ast.stmt]:
    """The top-level statements of a file that define these names."""
    return [node for node in parse(path).body if set(names_of(node)) & set(names)]


def test_points_add_up():
    assert sum(lab.points for lab in course().labs) == course().points == 100
    for lab in LABS:
        points = sum(exercise.points for exercise in course().exercises_of(lab.number))
        assert points == lab.points, f"course.toml: the exercises of lab {lab.number} have {points} points"


def test_exercises_are_numbered_in_order():
    for lab in LABS:
        ids = [exercise.id for exercise in course().exercises_of(lab.number)]
        assert ids == [f"{lab.number}.{place}" for place in range(1, len(ids) + 1)], (
            "course.toml: number from 1, in order"
        )


@each_exercise
def test_hints_rise(exercise):
    assert len(exercise.hints) >= 2, f"course.toml: give {exercise.id} at least two hints"
    assert len(set(exercise.hints)) == len(exercise.hints), f"course.toml: two hints of {exercise.id} are the same"
    unwritten = [hint for hint in exercise.hints if len(hint.split()) < 4]
    assert not unwritten, f"course.toml: write the hints of {exercise.id}: {unwritten}"


@each_lab
def test_a_lab_has_all_its_files(lab):
    wanted = LAB_FILES | LAB_PROGRAMS[lab.folder]
    missing = sorted(name for name in wanted if not (ROOT / "labs" / lab.folder / name).is_file())
    assert not missing, f"labs/{lab.folder} lacks {missing}: a lab with exercises in course.toml is complete"
    assert solution(lab.folder).is_file(), f"solutions/{lab.folder}/exercises.py is missing"


def expected_files() -> set[str]:
    """Every file that labs/, solutions/, tests/exercises/ and tests/wrong_answers/ may hold."""
    labs = {f"labs/{folder}/{name}" for folder, programs in LAB_PROGRAMS.items() for name in LAB_FILES | programs}
    solutions = {f"solutions/{lab.folder}/exercises.py" for lab in course().labs}
    judges = {relative(exercise.judge) for exercise in EXERCISES}
    wrong = {
        relative(path)
        for path in overlay.wrong_answer_paths()
        for exercise in EXERCISES
        if path.parent.name == exercise.lab.folder and path.name.startswith(f"{exercise.id}_")
    }
    return labs | solutions | judges | wrong


def test_no_stray_files():
    found = {relative(path) for path in files_under("labs", "solutions", "tests/exercises", "tests/wrong_answers")}
    stray = sorted(found - expected_files())
    assert not stray, f"nothing in course.toml knows {stray}: remove them, or name them there (programs: LAB_PROGRAMS)"


@each_exercise
def test_an_exercise_has_exactly_one_judge(exercise):
    marks = re.findall(r"pytest\.mark\.exercise\(\"([\d.]+)\"\)", exercise.judge.read_text(encoding="utf-8"))
    assert set(marks) == {exercise.id}, (
        f"{relative(exercise.judge)} must be marked pytest.mark.exercise({exercise.id!r}) and no other; it has {marks}"
    )


def test_a_judge_belongs_to_an_exercise():
    wanted = {exercise.judge for exercise in EXERCISES}
    stray = [relative(path) for path in JUDGES.glob("test_*.py") if path not in wanted]
    assert not stray, f"{stray} judge no exercise of course.toml: name them test_N_M_title.py after one"


@each_exercise
def test_every_check_has_a_title(exercise):
    checks = checks_of(exercise)
    assert checks, f"{relative(exercise.judge)} has no test function"
    bare = [name for name, title in checks.items() if not title]
    assert not bare, f"{relative(exercise.judge)}: give {bare} a docstring; its first line is the check's title"
    assert len(set(checks.values())) == len(checks), f"{relative(exercise.judge)}: two checks have the same title"


@each_exercise
def test_stubs_and_solution_define_the_names(exercise):
    skip_if_a_student_is_at_work(exercise.lab.folder)
    for path in (stubs(exercise.lab.folder), solution(exercise.lab.folder)):
        missing = set(exercise.names) - set(defined_names(parse(path)))
        assert not missing, (
            f"{relative(path)} does not define {sorted(missing)}, which course.toml lists for {exercise.id}"
        )


@each_lab
def test_what_the_manifest_does_not_list_is_given(lab):
    skip_if_a_student_is_at_work(lab.folder)
    listed = {name for exercise in course().exercises_of(lab.number) for name in exercise.names}
    solved = texts(solution(lab.folder))
    given = {name: text for name, text in texts(stubs(lab.folder)).items() if name not in listed}
    different = [name for name, text in given.items() if solved.get(name) != text]
    assert not different, (
        f"labs/{lab.folder}/exercises.py defines {different}, which course.toml does not list and the solution does not"
        " repeat: list it, or give the same definition in both"
    )


def texts(path) -> dict[str, str]:
    """The top-level definitions of a file, each with its code; a solution's docstrings may say less."""
    return {name: ast.unparse(without_docstring(node)) for node in parse(path).body for name in names_of(node)}


def without_docstring(node: ast.stmt) -> ast.stmt:
    """The same definition without its docstring."""
    if not isinstance(node, ast.FunctionDef | ast.ClassDef) or ast.get_docstring(node) is None:
        return node
    bare = copy.copy(node)
    bare.body = node.body[1:] or [ast.Pass()]
    return bare


@each_lab
def test_the_solution_keeps_the_stubs_order(lab):
    skip_if_a_student_is_at_work(lab.folder)
    stubbed, solved = defined_names(parse(stubs(lab.folder))), defined_names(parse(solution(lab.folder)))
    assert [name for name in stubbed if name in solved] == [name for name in solved if name in stubbed], (
        f"solutions/{lab.folder}/exercises.py has another order than the stubs: keep them readable side by side"
    )


@each_exercise
def test_a_stub_states_its_task_and_is_not_started(exercise):
    skip_if_a_student_is_at_work(exercise.lab.folder)
    for node in definitions(stubs(exercise.lab.folder), exercise.names):
        where = f"labs/{exercise.lab.folder}/exercises.py: {', '.join(names_of(node))}"
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            assert len((ast.get_docstring(node) or "").split()) > 15, f"{where}: state the task in the docstring"
            assert f"exercise {exercise.id} is not started" in ast.unparse(node), (
                f'{where}: its body must raise NotImplementedError("exercise {exercise.id} is not started")'
            )
        else:
            value = node.value
            assert isinstance(value, ast.Constant) and value.value is None, f"{where}: a prediction starts as None"


@each_exercise
def test_stub_and_solution_take_the_same_arguments(exercise):
    skip_if_a_student_is_at_work(exercise.lab.folder)
    taken = [
        {
            node.name: [ast.unparse(child.args) for child in ast.walk(node) if is_public_function(child)]
            for node in definitions(path, exercise.names)
            if isinstance(node, ast.FunctionDef)
        }
        for path in (stubs(exercise.lab.folder), solution(exercise.lab.folder))
    ]
    for name, (arguments, *_) in taken[0].items():
        assert arguments == taken[1][name][0], (
            f"{name}({arguments}) in labs/, {name}({taken[1][name][0]}) in solutions/"
        )


def is_public_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and not node.name.startswith("_")


@each_exercise
def test_the_handout_mentions_the_exercise(exercise):
    text = " ".join((ROOT / exercise.lab.handout).read_text(encoding="utf-8").replace("\\_", "_").split())
    assert exercise.label.lower() in text.lower(), f"{exercise.lab.handout}: present the exercise as {exercise.label!r}"


def headings_to_read(path) -> set[str]:
    """The headings that a judge sends its student to: what it gives as `read`, as text or as a constant of its own."""
    constants = {
        name: node.value.value
        for node in parse(path).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for name in names_of(node)
    }
    values = [value for node in ast.walk(parse(path)) for value in given_as_read(node)]
    texts = {value.value for value in values if isinstance(value, ast.Constant)}
    return texts | {constants[value.id] for value in values if isinstance(value, ast.Name) and value.id in constants}


def given_as_read(node: ast.AST) -> list[ast.expr]:
    """What one piece of code gives as `read`: in a call, or as a parameter's default."""
    if isinstance(node, ast.keyword):
        return [node.value] if node.arg == "read" else []
    if isinstance(node, ast.arguments):
        placed = [*node.posonlyargs, *node.args]
        defaulted = [*placed[len(placed) - len(node.defaults) :], *node.kwonlyargs]
        values = [*node.defaults, *node.kw_defaults]
        return [value for argument, value in zip(defaulted, values, strict=True) if argument.arg == "read" and value]
    return []


@each_exercise
def test_what_a_judge_says_to_read_is_there(exercise):
    missing = headings_to_read(exercise.judge) - set(headings(ROOT / exercise.lab.handout))
    assert not missing, f"{exercise.lab.handout} has no heading {sorted(map(str, missing))}, which {exercise.id} names"

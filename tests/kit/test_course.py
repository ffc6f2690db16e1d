"""course.toml as objects, and every complaint about it."""

import re
from pathlib import Path

import pytest

from chatlab import course

ROOT = Path(__file__).resolve().parents[2]

GOOD = """
[course]
title = "chatlab"
points = 20

[[lab]]
number = 1
folder = "01_fork"
title = "fork"
points = 3

[[lab.exercise]]
id = "1.1"
title = "predict"
names = ["PROCESSES"]
points = 1
deadline = 5
hints = ["a", "b"]

[[lab.exercise]]
id = "1.2"
title = "spawn and reap"
names = ["spawn_and_reap"]
points = 2
deadline = 2.5
hints = ["a", "b"]

[[lab]]
number = 2
folder = "02_socketpair"
title = "socketpair"
points = 17
"""


@pytest.fixture
def load(tmp_path):
    """Load a manifest given as text."""

    def _load(text: str | bytes) -> course.Course:
        (tmp_path / "course.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return course.load(tmp_path)

    return _load


def test_manifest_of_this_course_is_right():
    manifest = course.load(ROOT)
    assert manifest.points == sum(lab.points for lab in manifest.labs) == 100
    assert [lab.number for lab in manifest.labs] == [1, 2, 3, 4, 5, 6]


def test_manifest_becomes_objects(load, tmp_path):
    manifest = load(GOOD)
    exercise = manifest.exercise("1.2")
    assert (exercise.title, exercise.names, exercise.points) == ("spawn and reap", ("spawn_and_reap",), 2)
    assert (exercise.deadline, exercise.hints) == (2.5, ("a", "b"))
    assert exercise.lab.folder == "01_fork"
    assert exercise.lab.handout == "labs/01_fork/README.md"
    assert exercise.lab.notebook == "notebooks/01_fork.ipynb"
    assert exercise.label == "1.2 spawn and reap"
    assert manifest.root == tmp_path


def test_select_reads_what_a_person_means(load):
    manifest = load(GOOD)
    assert [exercise.id for exercise in manifest.select(None)] == ["1.1", "1.2"]
    assert [exercise.id for exercise in manifest.select("1")] == ["1.1", "1.2"]
    assert [exercise.id for exercise in manifest.select("1.2")] == ["1.2"]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("1.9", "there is no exercise 1.9: lab 1 has 1.1, 1.2"),
        ("7.1", "there is no exercise 7.1: `chatlab progress` lists them"),
        ("9", "there is no lab 9: the course has 1, 2"),
        ("2", "lab 2 is not built yet: it has no exercises"),
        ("one", "'one' is neither a lab, such as 1, nor an exercise, such as 1.2"),
        ("1.2.3", "'1.2.3' is neither a lab"),
        ("", "'' is neither a lab"),
        ("9" * 5000, "is neither a lab"),
    ],
)
def test_select_says_what_is_wrong(load, what, says):
    with pytest.raises(course.CourseError, match=re.escape(says)):
        load(GOOD).select(what)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[course]", "[course", "course.toml is not TOML: "),
        (
            'title = "chatlab"\npoints = 20',
            'title = "chatlab"',
            "[course] has no `points`: add points = a whole number",
        ),
        ("points = 20", "points = 21", "the labs' points add up to 20, [course] points says 21: make them agree"),
        ("points = 20", "points = 20\nshape = 1", "[course] has an unknown key `shape`: known are title, points"),
        ("points = 20", "points = true", "`points` of [course] is True: it must be a whole number above 0"),
        ("[course]", "[courses]", "the file has an unknown key `courses`: known are course, lab"),
        ("number = 1", "", "[[lab]] number 1 has no `number`"),
        ("number = 2", "number = 1", "the lab number 1 is there twice"),
        (
            "points = 3",
            "points = 3\nstubs_sha256 = 'abc'",
            "`stubs_sha256` of [[lab]] number 1 is 'abc': it must be 64",
        ),
        ('"01_fork"', '"fork"', "`folder` of [[lab]] number 1 is 'fork': it must be such as 01_fork"),
        ('"02_socketpair"', '"01_fork"', "the folder 01_fork is there twice"),
        ("points = 3", "points = 4", "the exercises of lab 1 add up to 3 points, its `points` says 4: make them agree"),
        ("points = 2\n", 'points = "2"\n', "`points` of exercise 1.2 is '2': it must be a whole number above 0"),
        ("points = 2\n", "points = 2\nspeed = 1\n", "exercise 1.2 has an unknown key `speed`"),
        ('id = "1.2"', 'id = "1.1"', "the exercise id 1.1 is there twice"),
        ('id = "1.2"', 'id = "2.2"', "exercise 2.2 stands under lab 1: its id must begin with 1."),
        ('id = "1.2"', "id = 1.2", "`id` of exercise 1.2 is 1.2: it must be such as 1.2, in quotes"),
        ('id = "1.2"', "", "exercise without id in lab 1 has no `id`"),
        ('"spawn_and_reap"', '"spawn and reap"', "`names` of exercise 1.2"),
        ('"spawn_and_reap"', '"PROCESSES"', "the exercise name 01_fork.PROCESSES is there twice"),
        ('["spawn_and_reap"]', "[]", "it must be a list of different Python names"),
        ("deadline = 2.5", "deadline = 0", "`deadline` of exercise 1.2 is 0: it must be a number of seconds above 0"),
        ("deadline = 2.5", "deadline = inf", "it must be a number of seconds above 0"),
        ("deadline = 2.5", "deadline = true", "it must be a number of seconds above 0"),
        ("2.5\nhints = [", '2.5\nhints = "a" #', "it must be a list of at least 2 texts"),
        ('2.5\nhints = ["a", "b"]', '2.5\nhints = ["a"]', "`hints` of exercise 1.2 is ['a']: it must be a list of at"),
        ("[[lab.exercise]]\nid", "[lab.exercise]\nid", "course.toml"),
    ],
)
def test_complaint_is_one_line_with_the_cure(load, old, new, says):
    assert old in GOOD
    with pytest.raises(course.CourseError) as complaint:
        load(GOOD.replace(old, new, 1) if new != "[lab.exercise]\nid" else GOOD.replace(old, new))
    assert says in str(complaint.value)
    assert "course.toml" in str(complaint.value)
    assert "\n" not in str(complaint.value)


def test_digest_of_the_stubs_is_kept(load):
    digest = "0123456789abcdef" * 4
    manifest = load(GOOD.replace("points = 3", f'points = 3\nstubs_sha256 = "{digest}"'))
    assert (manifest.lab(1).stubs_sha256, manifest.lab(2).stubs_sha256) == (digest, None)


def test_manifest_that_is_not_text(load):
    with pytest.raises(course.CourseError, match="is not UTF-8 at byte 2: save it as UTF-8"):
        load(b"# \xff")


def test_manifest_that_cannot_be_read(tmp_path):
    with pytest.raises(course.CourseError, match="cannot be read: No such file or directory"):
        course.load(tmp_path)


def test_root_is_found_from_below_and_from_elsewhere(load, tmp_path):
    load(GOOD)
    below = tmp_path / "labs" / "01_fork"
    below.mkdir(parents=True)
    assert course.find_root(below) == tmp_path
    assert course.find_root(Path("/")) == ROOT


def test_judge_of_an_exercise_is_the_one_file_of_its_id(load, tmp_path):
    exercise = load(GOOD).exercise("1.2")
    judges = tmp_path / "tests" / "exercises"
    judges.mkdir(parents=True)
    with pytest.raises(course.CourseError, match="has 0 judges, .*: there must be exactly one"):
        _ = exercise.judge
    (judges / "test_1_2_spawn_and_reap.py").touch()
    (judges / "test_1_21_other.py").touch()
    assert exercise.judge == judges / "test_1_2_spawn_and_reap.py"

"""The manifest, course.toml, as objects: labs, exercises, points, deadlines and hints.

Every complaint about it is one line, a `CourseError`, that names the file, the key and the cure. Only the standard
library is imported here, so that the judge's processes may read the course too.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "course.toml"
EXERCISES = "exercises.py"
MINIMUM_HINTS = 2


class CourseError(Exception):
    """course.toml, or a request about it, is wrong; str() is one line with the cure."""


class NoSuchExercise(CourseError):
    """A person asked for a lab or an exercise that the course does not have."""


@dataclass(frozen=True)
class Lab:
    """One lab. `folder` is its name under labs/ and solutions/; `points` are what its exercises add up to.

    `stubs_sha256` is of its untouched exercises.py, so that a student at work is known from a stub that went wrong.
    """

    number: int
    folder: str
    title: str
    points: int
    stubs_sha256: str | None = None

    @property
    def handout(self) -> str:
        """What its student reads, as a path from the course's root."""
        return f"labs/{self.folder}/README.md"

    @property
    def notebook(self) -> str:
        """Its notebook, as a path from the course's root."""
        return f"notebooks/{self.folder}.ipynb"


@dataclass(frozen=True)
class Exercise:
    """One exercise. `names` are what a student defines for it; `deadline` is in seconds, for one check."""

    id: str
    title: str
    names: tuple[str, ...]
    points: int
    deadline: float
    hints: tuple[str, ...]
    lab: Lab
    root: Path

    @property
    def label(self) -> str:
        return f"{self.id} {self.title}"

    @property
    def judge(self) -> Path:
        """The pytest file that judges it; CourseError when there is not exactly one."""
        pattern = f"tests/exercises/test_{self.id.replace('.', '_')}_*.py"
        found = sorted(self.root.glob(pattern))
        if len(found) != 1:
            raise CourseError(f"exercise {self.id} has {len(found)} judges, {pattern}: there must be exactly one")
        return found[0]


@dataclass(frozen=True)
class Course:
    """The whole course. `root` is the directory that holds course.toml."""

    root: Path
    title: str
    points: int
    labs: tuple[Lab, ...]
    exercises: tuple[Exercise, ...]

    def lab(self, number: int) -> Lab:
        """The lab of this number; NoSuchExercise when there is none."""
        for lab in self.labs:
            if lab.number == number:
                return lab
        raise NoSuchExercise(f"there is no lab {number}: the course has {_enumerate(lab.number for lab in self.labs)}")

    def exercise(self, exercise_id: str) -> Exercise:
        """The exercise of this id, such as "1.2"; NoSuchExercise when there is none."""
        for exercise in self.exercises:
            if exercise.id == exercise_id:
                return exercise
        number, _, _ = exercise_id.partition(".")
        near = [exercise.id for exercise in self.exercises if exercise.id.startswith(f"{number}.")]
        known = f"lab {number} has {_enumerate(near)}" if near else "`chatlab progress` lists them"
        raise NoSuchExercise(f"there is no exercise {exercise_id}: {known}")

    def exercises_of(self, number: int) -> tuple[Exercise, ...]:
        """The exercises of lab `number`; none while the lab is not built."""
        return tuple(exercise for exercise in self.exercises if exercise.lab.number == number)

    def select(self, what: str | None) -> tuple[Exercise, ...]:
        """The exercises that a person means by "1" (a lab), "1.2" (an exercise) or None (all). Raises CourseError."""
        if what is None:
            return self.exercises
        if re.fullmatch(r"\d+\.\d+", what):
            return (self.exercise(what),)
        if not re.fullmatch(r"\d{1,3}", what):
            raise NoSuchExercise(f"{what!r} is neither a lab, such as 1, nor an exercise, such as 1.2")
        chosen = self.exercises_of(self.lab(int(what)).number)
        if not chosen:
            raise CourseError(f"lab {int(what)} is not built yet: it has no exercises")
        return chosen


def find_root(start: Path | None = None) -> Path:
    """The directory of course.toml: at or above `start` (default: the current one), else the checkout of this package.

    Raises CourseError when there is none.
    """
    here = (start or Path.cwd()).resolve()
    for directory in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (directory / MANIFEST).is_file():
            return directory
    raise CourseError(f"no {MANIFEST} in {here} or above it: change into the course's directory")


def load(root: Path | None = None) -> Course:
    """Read and check the manifest of the course at `root` (default: `find_root()`). Raises CourseError."""
    root = root or find_root()
    try:
        data = tomllib.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise CourseError(f"{root / MANIFEST} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CourseError(f"{MANIFEST} is not UTF-8 at byte {error.start}: save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{MANIFEST} is not TOML: {error}") from None
    return _course(data, root)


# A key's test: the words for what it must be, and a function that tells whether a value is.
_Test = tuple[str, Callable[[object], bool]]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _is_line(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\n" not in value


def _is_text_list(value: object, least: int) -> bool:
    return isinstance(value, list) and len(value) >= least and all(isinstance(v, str) and v.strip() for v in value)


def _are_names(value: object) -> bool:
    return _is_text_list(value, 1) and all(name.isidentifier() for name in value) and len(set(value)) == len(value)


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[0-9a-f]{64}", value))


def _are_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(table, dict) for table in value)


_WHOLE: _Test = ("a whole number above 0", _is_whole)
_LINE: _Test = ("one line of text", _is_line)
_TABLES: _Test = ("a list of tables", _are_tables)

_TOP_KEYS = {"course": ("a table", lambda value: isinstance(value, dict)), "lab": _TABLES}
_COURSE_KEYS = {"title": _LINE, "points": _WHOLE}
_LAB_KEYS = {
    "number": _WHOLE,
    "folder": (
        "such as 01_fork",
        lambda value: isinstance(value, str) and bool(re.fullmatch(r"\d\d_[a-z0-9_]+", value)),
    ),
    "title": _LINE,
    "points": _WHOLE,
}
_LAB_OPTIONS = {
    "exercise": _TABLES,
    "stubs_sha256": ("64 hexadecimal digits", _is_sha256),
}
_EXERCISE_KEYS = {
    "id": ("such as 1.2, in quotes", lambda value: isinstance(value, str) and bool(re.fullmatch(r"\d+\.\d+", value))),
    "title": _LINE,
    "names": ("a list of different Python names", _are_names),
    "points": _WHOLE,
    "deadline": ("a number of seconds above 0", _is_seconds),
    "hints": (f"a list of at least {MINIMUM_HINTS} texts", lambda value: _is_text_list(value, MINIMUM_HINTS)),
}


def _course(data: dict, root: Path) -> Course:
    _check(data, "the file", _TOP_KEYS)
    head = data["course"]
    _check(head, "[course]", _COURSE_KEYS)
    labs, exercises = [], []
    for place, table in enumerate(data["lab"], start=1):
        lab = _lab(table, f"[[lab]] number {place}")
        labs.append(lab)
        exercises += [_exercise(entry, lab, root) for entry in table.get("exercise", [])]
        _check_sum(exercises, lab)
    _check_unique((lab.number for lab in labs), "lab number")
    _check_unique((lab.folder for lab in labs), "folder")
    _check_unique((exercise.id for exercise in exercises), "exercise id")
    _check_unique((f"{e.lab.folder}.{name}" for e in exercises for name in e.names), "exercise name")
    total = sum(lab.points for lab in labs)
    if total != head["points"]:
        raise CourseError(
            f"{MANIFEST}: the labs' points add up to {total}, [course] points says {head['points']}: make them agree"
        )
    return Course(root, head["title"], head["points"], tuple(labs), tuple(exercises))


def _lab(table: dict, where: str) -> Lab:
    _check(table, where, _LAB_KEYS, _LAB_OPTIONS)
    return Lab(table["number"], table["folder"], table["title"], table["points"], table.get("stubs_sha256"))


def _exercise(table: dict, lab: Lab, root: Path) -> Exercise:
    where = f"exercise {table.get('id', f'without id in lab {lab.number}')}"
    _check(table, where, _EXERCISE_KEYS)
    if not table["id"].startswith(f"{lab.number}."):
        raise CourseError(f"{MANIFEST}: {where} stands under lab {lab.number}: its id must begin with {lab.number}.")
    return Exercise(
        id=table["id"],
        title=table["title"],
        names=tuple(table["names"]),
        points=table["points"],
        deadline=float(table["deadline"]),
        hints=tuple(table["hints"]),
        lab=lab,
        root=root,
    )


def _check(table: dict, where: str, required: dict[str, _Test], optional: dict[str, _Test] | None = None) -> None:
    known = required | (optional or {})
    for key in table:
        if key not in known:
            raise CourseError(f"{MANIFEST}: {where} has an unknown key `{key}`: known are {_enumerate(known)}")
    for key in required:
        if key not in table:
            raise CourseError(f"{MANIFEST}: {where} has no `{key}`: add {key} = {known[key][0]}")
    for key, value in table.items():
        words, is_right = known[key]
        if not is_right(value):
            raise CourseError(f"{MANIFEST}: `{key}` of {where} is {_short(value)}: it must be {words}")


def _check_sum(exercises: list[Exercise], lab: Lab) -> None:
    own = [exercise for exercise in exercises if exercise.lab is lab]
    total = sum(exercise.points for exercise in own)
    if own and total != lab.points:
        raise CourseError(
            f"{MANIFEST}: the exercises of lab {lab.number} add up to {total} points, its `points` says {lab.points}:"
            " make them agree"
        )


def _check_unique(values, what: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise CourseError(f"{MANIFEST}: the {what} {value} is there twice: each must be different")
        seen.add(value)


def _enumerate(values) -> str:
    return ", ".join(str(value) for value in values) or "none"


def _short(value: object) -> str:
    text = repr(value).replace("\n", " ")
    return text if len(text) <= 40 else f"{text[:37]}..."

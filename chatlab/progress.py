"""What a student has done so far: the last verdict of each exercise, and the hints she has seen.

Kept in .chatlab/ at the course's root as JSON, each file replaced whole, so that an interruption leaves the old one. A
file that cannot be read is set aside under another name, never overwritten. A verdict is kept with a digest of the
source that it judged, so that it is known to be stale once the exercise has changed.
"""

import ast
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chatlab.course import EXERCISES, Course, Exercise, Lab

FOLDER = ".chatlab"


@dataclass(frozen=True)
class Kept:
    """A verdict as kept. `points` of the exercise's; `digest` of the source judged; `when` in unix seconds."""

    verdict: str
    points: int
    digest: str
    when: float


class Store:
    """The files under .chatlab/ of the course at `root`. `complain` gets one line for each trouble with them."""

    def __init__(self, root: Path, complain: Callable[[str], None]):
        self.folder = root / FOLDER
        self._complain = complain

    def verdicts(self) -> dict[str, Kept]:
        """The last verdict of each exercise that has one."""
        return self._read("verdicts.json", _kept)

    def keep_verdict(self, exercise_id: str, verdict: str, points: int, digest: str) -> None:
        """Remember a verdict."""
        entry = {"verdict": verdict, "points": points, "digest": digest, "when": time.time()}
        self._change("verdicts.json", _kept, lambda data: data | {exercise_id: entry})

    def hints_seen(self, exercise_id: str) -> int:
        """How many hints of the exercise have been shown."""
        return self._read("hints.json", _count).get(exercise_id, 0)

    def keep_hints_seen(self, exercise_id: str, count: int) -> None:
        """Remember how many hints have been shown."""
        self._change("hints.json", _count, lambda data: data | {exercise_id: count})

    def _read(self, name: str, parse: Callable) -> dict:
        return {key: parse(value) for key, value in self._load(name, parse).items()}

    def _change(self, name: str, parse: Callable, change: Callable[[dict], dict]) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
            with self._locked():
                data = change(self._load(name, parse))
                _replace(self.folder / name, json.dumps(data, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            self._complain(f"{FOLDER}/{name} cannot be written, so this is not remembered: {error.strerror}")

    @contextmanager
    def _locked(self):
        # `watch` and `check` may run at once: each reads, changes and replaces a file alone.
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _load(self, name: str, parse: Callable) -> dict:
        path = self.folder / name
        try:
            data = json.loads(path.read_bytes())
            for value in data.items() if isinstance(data, dict) else [(None, data)]:
                parse(value[1])
            if not isinstance(data, dict):
                raise TypeError(name)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._complain(f"{FOLDER}/{name} cannot be read: {error.strerror}")
            return {}
        except (ValueError, TypeError, KeyError, RecursionError):
            self._set_aside(path)
            return {}
        return data

    def _set_aside(self, path: Path) -> None:
        aside = _free_name(path)
        try:
            path.rename(aside)
        except OSError as error:
            self._complain(f"{FOLDER}/{path.name} is damaged and cannot be set aside: {error.strerror}")
            return
        self._complain(f"{FOLDER}/{path.name} is damaged: it is set aside as {aside.name}, and a new one begins")


def _kept(value: dict) -> Kept:
    kept = Kept(value["verdict"], value["points"], value["digest"], value["when"])
    if not (isinstance(kept.verdict, str) and isinstance(kept.digest, str)):
        raise TypeError("text expected")
    if not (type(kept.points) is int and isinstance(kept.when, int | float)):
        raise TypeError("numbers expected")
    return kept


def _count(value: int) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("a count expected")
    return value


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
        number += 1
    return aside


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


# Which source an exercise consists of


def source_path(work: Path, lab: Lab) -> Path:
    """The file that a student writes for a lab, in a work folder such as labs/."""
    return work / lab.folder / EXERCISES


def digests(source: str, exercises: tuple[Exercise, ...]) -> dict[str, str]:
    """A digest for each exercise of the code that it consists of. Raises SyntaxError, ValueError (a NUL byte).

    That is the definitions of its names, all that these refer to in the same file, and statements that define nothing.
    Comments and layout do not count.
    """
    module = ast.parse(source)
    definitions: dict[str, list[ast.stmt]] = {}
    loose = []
    for statement in module.body:
        bound = _bound_names(statement)
        for name in bound:
            definitions.setdefault(name, []).append(statement)
        if not bound and not _is_text(statement):
            loose.append(statement)
    return {exercise.id: _digest(exercise.names, definitions, loose) for exercise in exercises}


def digests_of(course: Course, work: Path, lab: Lab) -> dict[str, str]:
    """The digests of a lab's exercises in a work folder; none when the file is not there or not Python."""
    try:
        source = source_path(work, lab).read_text(encoding="utf-8")
        return digests(source, course.exercises_of(lab.number))
    except (OSError, SyntaxError, ValueError):
        return {}


def _digest(names: tuple[str, ...], definitions: dict[str, list[ast.stmt]], loose: list[ast.stmt]) -> str:
    reached: dict[str, None] = {}
    waiting = [*names, *(name for statement in loose for name in _used_names(statement))]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in definitions:
            continue
        reached[name] = None
        for statement in definitions[name]:
            waiting += _used_names(statement)
    statements = [statement for name in sorted(reached) for statement in definitions[name]]
    text = "\n".join(ast.dump(statement) for statement in [*statements, *loose])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return [
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
    return []


def _used_names(statement: ast.stmt) -> list[str]:
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)

"""The judge as a pytest plugin: the `student` fixture, its marks, and verdicts in place of tracebacks.

    pytest tests/exercises --work solutions

Options: --work DIR (default labs), the folder with NN_topic/exercises.py; --verdicts FILE, one JSON object a check;
--keep-traces DIR, where a check's trace and feedback go when it did not pass; --keep-all, also when it did.
Marks: exercise(id); inject(call, error=, when=); prlimit(resource, value).
"""

import ctypes
import json
import os
import random
import shutil
import signal
import traceback
from pathlib import Path

import pytest

from chatlab import course
from chatlab.judge import verdicts
from chatlab.judge.runner import seed_from_environment
from chatlab.judge.verdicts import CheckResult, Feedback, Outcome

SEED = pytest.StashKey[int]()
# exercise id → the Outcome that its further checks have without being run;
# lab → the id of the exercise that found its file not to load
OVER = pytest.StashKey[dict]()
KEPT = pytest.StashKey[set]()  # folders that hold a kept trace of this session
REPORT = pytest.StashKey[pytest.TestReport]()
COURSE = pytest.StashKey[course.Course]()

PR_SET_PDEATHSIG = 1

# After one of these the exercise's other checks would say the same again, or take as long again.
_ENDS_THE_EXERCISE = {verdicts.NOT_STARTED, verdicts.OUT_OF_TIME, verdicts.TOO_MANY}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chatlab", "judging exercises")
    group.addoption("--work", default="labs", metavar="DIR", help="folder with NN_topic/exercises.py (default: labs)")
    group.addoption("--verdicts", metavar="FILE", help="write each check's result to FILE, one JSON object a line")
    group.addoption("--keep-traces", metavar="DIR", help="keep the trace of each check that does not pass")
    group.addoption("--keep-all", action="store_true", help="with --keep-traces: of each check")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "exercise(id): the exercise of course.toml that this check judges")
    config.addinivalue_line("markers", "inject(call, error=, when=): a system call that fails for certain (strace)")
    config.addinivalue_line("markers", "prlimit(resource, value): a limit of the student's process, such as NOFILE")
    _end_with(os.environ.get("CHATLAB_JUDGED_BY"))
    try:
        seed = seed_from_environment()
    except course.CourseError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SEED] = random.SystemRandom().randrange(10**6) if seed is None else seed
    config.stash[OVER] = {}
    config.stash[KEPT] = set()


def _end_with(parent: str | None) -> None:
    """Let the kernel end this process when the one that started it dies: prctl(2), PR_SET_PDEATHSIG."""
    if parent is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        os._exit(1)  # it died before the kernel was asked


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell how many checks each exercise has, so that a result that does not come is missed."""
    ids = [judged for item in session.items if (judged := _exercise_id(item)) is not None]
    if _SINK:
        _SINK[0].write(json.dumps({"collected": {judged: ids.count(judged) for judged in ids}}) + "\n")
        _SINK[0].flush()


def pytest_report_header(config: pytest.Config) -> list[str]:
    work = config.getoption("--work")
    return [f"chatlab: work {work}, seed {config.stash[SEED]}"]


def _exercise_id(item: pytest.Item) -> str | None:
    mark = item.get_closest_marker("exercise")
    return mark.args[0] if mark else None


def _lab_of(exercise_id: str) -> str:
    return "lab " + exercise_id.partition(".")[0]


def _title(item: pytest.Item) -> str:
    """A check's name for people: the first line of its docstring."""
    lines = (getattr(item.function, "__doc__", None) or item.name).strip().splitlines()
    title = lines[0].rstrip(".") if lines else item.name
    return title[:1].lower() + title[1:]


def _course(config: pytest.Config) -> course.Course:
    if COURSE not in config.stash:
        config.stash[COURSE] = course.load(course.find_root(config.rootpath))
    return config.stash[COURSE]


@pytest.fixture
def student(request: pytest.FixtureRequest):
    """The student's code in a process of its own: see `chatlab.judge.student.Student`."""
    from chatlab.judge.student import Student

    config, item = request.config, request.node
    exercise = _course(config).exercise(_exercise_id(item))
    work = Path(config.getoption("--work"))
    inject = [
        (mark.args[0], mark.kwargs["error"], mark.kwargs.get("when", "1+")) for mark in item.iter_markers("inject")
    ]
    limits = {mark.args[0]: mark.args[1] for mark in item.iter_markers("prlimit")}
    fixture = Student(
        exercise,
        _title(item),
        work if work.is_absolute() else config.invocation_params.dir / work,
        seed=config.stash[SEED],
        inject=inject,
        limits=limits,
    )
    try:
        yield fixture
        report = item.stash.get(REPORT, None)
        fixture.end()
        if report is not None and config.getoption("--keep-traces") and fixture.steps and not _is_stub(report):
            _keep(config, item, fixture, report)
    finally:
        fixture.end()
        fixture.clear()


def _is_stub(report: pytest.TestReport) -> bool:
    return report.chatlab["verdict"] == verdicts.NOT_STARTED


def _keep(config: pytest.Config, item: pytest.Item, fixture, report: pytest.TestReport) -> None:
    """Keep a check's trace, its name and its feedback for `chatlab why`: those of the first that did not pass."""
    folder = Path(config.getoption("--keep-traces")) / fixture.exercise.id
    if folder in config.stash[KEPT] or report.passed and not config.getoption("--keep-all"):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fixture.keep_trace(folder / "strace")
    details = {
        "exercise": fixture.exercise.id,
        "check": item.name,
        "title": fixture.title,
        "seed": fixture.seed,
        "work": str(fixture.work),
        "ended": fixture.ended,
        "feedback": report.chatlab["feedback"],
    }
    (folder / "check.json").write_text(json.dumps(details, indent=1))
    config.stash[KEPT].add(folder)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function):
    """Do not run a check whose result is known already; after one, let it see what came over the channel late."""
    judged = _exercise_id(pyfuncitem)
    over = pyfuncitem.config.stash[OVER]
    if judged in over:
        raise over[judged]
    if judged is not None and (first := over.get(_lab_of(judged))) is not None:
        words = f"{judged} {_title(pyfuncitem)}: not run, because exercises.py does not load: see {first}"
        raise Outcome(verdicts.FAILED, Feedback(words))
    result = yield
    fixture = pyfuncitem.funcargs.get("student")
    if judged is not None and fixture is not None:
        fixture.settle()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    exercise_id = _exercise_id(item)
    if exercise_id is None:
        return report
    verdict, feedback = _judged(item, call)
    if call.when == "call" or (verdict != verdicts.PASSED):
        report.chatlab = {
            "exercise_id": exercise_id,
            "name": item.name,
            "title": _title(item),
            "verdict": verdict,
            "feedback": feedback,
            "seconds": call.duration,
        }
        if verdict == verdicts.NOT_CHECKED:
            report.outcome = "skipped"
            path, line, _ = item.location
            report.longrepr = (path, line, feedback)
        elif verdict != verdicts.PASSED:
            report.longrepr = feedback
        if call.when == "call":
            item.stash[REPORT] = report
    return report


def _judged(item: pytest.Item, call: pytest.CallInfo) -> tuple[str, str]:
    """(verdict, feedback) of one phase of a check."""
    if call.excinfo is None:
        return verdicts.PASSED, ""
    error = call.excinfo.value
    exercise_id = _exercise_id(item)
    if isinstance(error, Outcome):
        if error.whole_lab:
            item.config.stash[OVER].setdefault(_lab_of(exercise_id), exercise_id)
        if error.verdict in _ENDS_THE_EXERCISE:
            item.config.stash[OVER][exercise_id] = _repeated(error, exercise_id)
        return error.verdict, str(error.feedback)
    text = "".join(traceback.format_exception(call.excinfo.type, error, call.excinfo.tb, limit=-6))
    headline = f"{exercise_id} {_title(item)}: the judge itself failed; this is not your mistake. Please report it:"
    return verdicts.FAULT, f"{headline}\n{text}"


def _repeated(error: Outcome, exercise_id: str) -> Outcome:
    """What an exercise's later checks say after one that ends the exercise."""
    if error.verdict == verdicts.NOT_STARTED:
        return error
    words = f"{exercise_id}: not run, because an earlier check of this exercise ended with: {error.verdict}"
    return Outcome(error.verdict, Feedback(words))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Hand each result on as soon as it is there (under xdist: in the controlling process)."""
    entry = getattr(report, "chatlab", None)
    if entry is not None and _SINK:
        _SINK[0].write(json.dumps(CheckResult(**entry).as_dict()) + "\n")
        _SINK[0].flush()


_SINK: list = []


def pytest_sessionstart(session: pytest.Session) -> None:
    path = session.config.getoption("--verdicts")
    if path and not hasattr(session.config, "workerinput"):
        _SINK.append(open(path, "w", encoding="utf-8"))  # noqa: SIM115  (closed at the session's end)


def pytest_sessionfinish() -> None:
    while _SINK:
        _SINK.pop().close()

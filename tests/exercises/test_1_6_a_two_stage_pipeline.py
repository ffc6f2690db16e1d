"""The judge of exercise 1.6: real programs, their output, their ends, and what is left."""

import pytest

pytestmark = pytest.mark.exercise("1.6")

PIPES = "Pipelines"
COPY_LEFT = "a writing end that is still open somewhere: the reader never sees end of file"
NOT_FOUND = "status 127, a program that was not found: is it looked for along the PATH, and is it on this machine?"
SECONDS = 1.5


def pipeline(student, first, second, *, hangs: str = COPY_LEFT):
    """Call run_pipeline, show it as a shell's command, and return the Call with a list as its value."""
    step = f"run_pipeline({first}, {second})"
    return student.call("run_pipeline", first, second, step=step, hangs=hangs, timeout=SECONDS, read=PIPES)


def statuses_of(call):
    return tuple(call.value) if isinstance(call.value, list | tuple) else call.value


def not_found(call) -> bool:
    return isinstance(call.value, list | tuple) and 127 in call.value


def ends_with(student, call, statuses: tuple[int, int], mistake: str) -> None:
    found = statuses_of(call)
    if not_found(call) and 127 not in statuses:
        mistake = NOT_FOUND
    student.should(
        found == statuses, should=f"return {statuses}", but=f"it returned {found!r}", mistake=mistake, read=PIPES
    )


def prints(student, call, text: str, mistake: str) -> None:
    said = call.output.decode(errors="replace")
    student.should(
        said == text,
        should=f"print {text[:60]!r}",
        but=f"it printed {said[:60]!r}",
        mistake=NOT_FOUND if not_found(call) else mistake,
        read=PIPES,
    )


def test_the_second_reads_what_the_first_writes(student):
    """The second program reads what the first writes, to the end."""
    words = student.random.sample(["accept", "bind", "dup", "exec", "fork", "kill", "listen", "pipe"], 4)
    words.append("wait")  # in no order that `sort -r` would leave as it is
    call = pipeline(student, ["printf", "%s\\n", *words], ["sort", "-r"])
    mistake = "standard output and standard input mixed up, or dup2 the wrong way round"
    prints(student, call, "".join(f"{word}\n" for word in sorted(words, reverse=True)), mistake)
    ends_with(student, call, (0, 0), "a status of something else than the two programs")


def test_it_ends_when_its_reader_does(student):
    """It ends when its reader does."""
    word, number = student.random.choice(["fork", "exec", "wait"]), student.random.randrange(2, 6)
    mistake = (
        "a first program that is waited for before the second runs, or a reading end that stays open: then no write"
        " ever fails, and the full pipe (65,536 bytes) blocks the writer for ever"
    )
    call = pipeline(student, ["yes", word], ["head", "-n", str(number)], hangs=mistake)
    prints(student, call, f"{word}\n" * number, "another standard input than the pipe")
    ends_with(
        student,
        call,
        (-13, 0),
        "SIGPIPE left ignored, as Python has it: exec passes that on; set it to SIG_DFL in the child",
    )


def test_both_statuses_are_returned(student):
    """Both statuses are returned, in the order of the programs."""
    first, second = student.random.sample(range(1, 100), 2)
    # The second ends first, and the first afterwards, when it sees that: so the order of ends is known.
    call = pipeline(student, ["sh", "-c", f"trap '' PIPE; while echo x; do :; done 2>/dev/null; exit {first}"],
                    ["sh", "-c", f"exit {second}"])  # fmt: skip
    found = statuses_of(call)
    mistake = "statuses in the order in which the programs ended" if found == (second, first) else "one status lost"
    ends_with(student, call, (first, second), mistake)


@pytest.mark.parametrize("place", ["first", "second"])
def test_a_program_that_is_not_found(student, place):
    """A program that is not found has status 127, and the other one runs."""
    missing = [f"no-such-program-{student.random.randrange(1000)}"]
    code = student.random.randrange(1, 100)
    there = ["sh", "-c", f"cat > /dev/null; exit {code}" if place == "first" else f"exit {code}"]
    first, second = (missing, there) if place == "first" else (there, missing)
    call = pipeline(student, first, second)
    mistake = "another status than 127, a shell's word for a program that cannot be found: leave by os._exit(127)"
    ends_with(student, call, (127, code) if place == "first" else (code, 127), mistake)


def test_nothing_is_left(student):
    """No process and no descriptor is left."""
    call = pipeline(student, ["echo", "hello"], ["cat"])
    student.should(
        not call.audit.children,
        should="reap both programs",
        but=lambda: call.audit.describe(call.audit.children),
        mistake="one wait for two children",
        read="Zombies",
    )
    opened = call.audit.opened
    student.should(
        not opened,
        should="leave no descriptor open",
        but=lambda: "left open: " + ", ".join(f"{number} ({name})" for number, name in sorted(opened.items())),
        mistake="an end of the pipe that the parent does not close",
        read="Reference counts",
    )

"""The command line, `chatlab`: each family of commands in a module of its own, heavy imports inside the commands.

study.py: lab, check, hint, why, watch, progress. books.py: notebook, notebooks, kernelspec. house.py: doctor, stress,
clean. chat.py: chat, join. bench.py: bench. figure.py: the README's figure. say.py: how they speak.
"""

import os
import sys
import traceback

USAGE = 2
INTERRUPTED = 130
AFRESH = "remove .venv, then make lab-1"


def main(arguments: list[str] | None = None) -> int:
    """Run one command (default: sys.argv's) and return its exit status: 0, 1 for a no, 2 for a wrong request.

    Trouble is one line on standard error, never a traceback; CHATLAB_DEBUG=1 in the environment shows one.
    """
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Standard output must not fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        print("chatlab: interrupted", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if _is_of_the_course(error.name):
            return _explain(error)
        # Said without _explain, which needs one of the packages itself.
        print(f"chatlab: the environment is incomplete, {error.name} is missing: {AFRESH}", file=sys.stderr)
        return 1
    except Exception as error:
        return _explain(error)


def _run(arguments: list[str]) -> int:
    import typer

    from chatlab.cli.say import app

    command = typer.main.get_command(app)
    status = command.main(arguments, prog_name="chatlab", standalone_mode=False)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    return status if isinstance(status, int) else 0


def _is_of_the_course(module: str | None) -> bool:
    return module is None or module.partition(".")[0] == "chatlab"


def _explain(error: Exception) -> int:
    from typer.exceptions import TyperException

    from chatlab.course import CourseError, NoSuchExercise
    from chatlab.launch import LaunchError

    if os.environ.get("CHATLAB_DEBUG"):
        traceback.print_exception(error)
    line = " ".join(str(error).split())
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        place = f" ({context.command_path} --help shows what there is)" if context else ""
        words = " ".join(error.format_message().split()).rstrip(".")
        print(f"chatlab: {words[:1].lower()}{words[1:]}{place}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, CourseError | LaunchError):
        print(f"chatlab: {line}", file=sys.stderr)
        return USAGE if isinstance(error, NoSuchExercise) else 1
    print(
        f"chatlab: a fault of the kit, {type(error).__name__}: {line or 'no words'} (CHATLAB_DEBUG=1 shows where)",
        file=sys.stderr,
    )
    return 1

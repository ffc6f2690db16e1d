"""The commands about notebooks: notebook, notebooks, kernelspec."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from chatlab import course as courses
from chatlab.cli.say import Failure, Misuse, app, say, short

KERNEL = "chatlab"
KERNELSPEC = {
    # nbval sets PYTEST_CURRENT_TEST, and a kernel that inherits it does not capture what child processes print.
    # It talks over the loopback interface, which only root can listen to: it need not warn of that at each start.
    "argv": [
        *("env", "-u", "PYTEST_CURRENT_TEST"),
        *("PYTHON", "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"),
    ],
    "display_name": "chatlab",
    "language": "python",
}


@app.command()
def notebook(
    options: Annotated[list[str] | None, typer.Argument(help="Options for JupyterLab, after --.")] = None,
) -> None:
    """Open JupyterLab in notebooks/."""
    root = courses.find_root()
    _need("jupyterlab")
    _install_kernelspec()
    # From the course's root, so that the exercises can be opened beside the notebooks.
    command = [sys.executable, "-m", "jupyterlab", "--LabApp.default_url=/lab/tree/notebooks"]
    # Of its log only the address is of use to a student, and problems.
    command += ["--log-level=ERROR", "--LabApp.log_level=ERROR"]
    command += [*(["--allow-root"] if os.geteuid() == 0 else []), *(options or [])]
    os.chdir(root)
    say("JupyterLab starts in your browser; without one, open the address below. Control-C, twice, ends it.")
    sys.stdout.flush()
    os.execv(command[0], command)


@app.command()
def notebooks(
    names: Annotated[list[str] | None, typer.Argument(help="Such as 01_fork (default: all).")] = None,
) -> None:
    """Rebuild the notebooks from notebooks/text, and run them all with the solutions."""
    root = courses.find_root()
    from chatlab.rebuild import RebuildError, rebuild, texts

    found = {text.stem: text for text in texts(root)}
    if not found:
        raise Failure("notebooks/text holds no notebook")
    for name in names or found:
        if name not in found:
            raise Misuse(f"there is no notebook {name}: notebooks/text has {', '.join(found)}")
    for module in ("jupytext", "nbclient", "ipykernel"):
        _need(module)
    _install_kernelspec()
    for name in names or found:
        try:
            seconds = rebuild(root, found[name], KERNEL)
        except RebuildError as error:
            raise Failure(str(error)) from None
        say(f"notebooks/{name}.ipynb  rebuilt and run, {seconds:.1f} s")


@app.command()
def kernelspec() -> None:
    """Install the notebooks' kernel, chatlab, into this environment."""
    say(f"kernel chatlab: {short(_install_kernelspec(), Path.cwd())}")


def _need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Failure(f"{module} is not installed in this environment: make environment-notebooks installs it")


def _install_kernelspec() -> Path:
    folder = Path(sys.prefix, "share", "jupyter", "kernels", KERNEL)
    argv = [sys.executable if part == "PYTHON" else part for part in KERNELSPEC["argv"]]
    text = json.dumps(KERNELSPEC | {"argv": argv}, indent=1) + "\n"
    path = folder / "kernel.json"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path

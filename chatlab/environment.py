"""Make the course's environment, .venv: `python3 -m chatlab.environment [--venv DIR] TIER...`.

Run by any Python from 3.11 on, before anything is installed; the Makefile does it. A tier is what some targets need and
others should not wait for: `base` (the kit and its tests), `notebooks` (JupyterLab and nbval), `lint` (ruff), `bench`
(uvloop).

A tier is ready when its stamp, .venv/.ready-TIER, holds the digest of what it is made from: constraints.txt, and what
pyproject.toml says of the package. While an environment is being made or changed it holds .venv/.making instead of
stamps; one left so by an interruption is made afresh.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "constraints.txt"
TIERS = ("base", "notebooks", "lint", "bench")
OLDEST = (3, 11)


class EnvironmentFault(Exception):
    """The environment cannot be made; str() is one line with the cure."""


def main() -> int:
    """Read the command line and make what it asks for; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python3 -m chatlab.environment", description="Make the course's environment."
    )
    parser.add_argument("--venv", default=".venv", help="its directory (default: .venv)")
    parser.add_argument("tiers", nargs="+", choices=TIERS, metavar="TIER", help=", ".join(TIERS))
    options = parser.parse_args()
    try:
        make(ROOT / options.venv, options.tiers)
    except EnvironmentFault as fault:
        print(f"chatlab: {fault}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"chatlab: {options.venv} cannot be made: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nchatlab: interrupted; the next make begins the environment afresh", file=sys.stderr)
        return 130
    return 0


def make(venv: Path, tiers: list[str]) -> None:
    """Bring `venv` to hold the tiers. Raises EnvironmentFault, OSError."""
    if sys.version_info < OLDEST:
        raise EnvironmentFault(
            f"Python {_version()} is too old: install Python 3.11 or newer, then PYTHON=python3.11 make ..."
        )
    lock = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _take_turns(lock)
        missing = [tier for tier in tiers if not is_ready(venv, tier)]
        if missing or _is_of_another_python(venv):
            _build(venv, missing or tiers)
        for tier in tiers:
            # make compares times: a file that was only touched, or changed elsewhere, is not looked at again.
            _stamp(venv, tier).touch()
    finally:
        os.close(lock)


def is_ready(venv: Path, tier: str) -> bool:
    """Whether the tier was installed whole, from what is to be installed now."""
    stamp = _stamp(venv, tier)
    return _python(venv).exists() and stamp.exists() and stamp.read_text(encoding="ascii") == recipe()


def to_install(venv: Path, tiers: list[str]) -> list[str]:
    """The tiers to install, in order, when `tiers` are asked for: those not ready, and base, which all of them need."""
    return [tier for tier in TIERS if tier in {"base", *tiers} and not is_ready(venv, tier)]


def requirements(tier: str) -> list[str]:
    """The requirements that constraints.txt lists under `# tier: NAME`, each with its one version."""
    _, _, section = CONSTRAINTS.read_text(encoding="utf-8").partition(f"# tier: {tier}\n")
    return [line for line in section.partition("# tier:")[0].splitlines() if line and not line.startswith("#")]


def recipe() -> str:
    """A digest of what an environment is made from."""
    import tomllib  # of Python 3.11: an older one gets as far as being told so

    settings = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    package = {name: table for name, table in settings.items() if name != "tool"}
    package["setuptools"] = settings["tool"]["setuptools"]
    text = json.dumps(package, sort_keys=True) + CONSTRAINTS.read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def _take_turns(lock: int) -> None:
    """Lock: of two makes at once, as with make -j, the second waits, and finds the work done."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("another make is installing; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _build(venv: Path, tiers: list[str]) -> None:
    began = time.monotonic()
    own = _making(venv).exists() or any(_stamp(venv, tier).exists() for tier in TIERS)
    if own and (_making(venv).exists() or not _python(venv).exists() or _is_of_another_python(venv)):
        shutil.rmtree(venv)
    _refuse_a_foreign_one(venv)
    kept = [tier for tier in TIERS if is_ready(venv, tier)]
    lacking = to_install(venv, tiers)
    fresh = not _python(venv).exists()
    venv.mkdir(parents=True, exist_ok=True)
    if own or fresh:
        _making(venv).touch()
    for tier in TIERS:
        _stamp(venv, tier).unlink(missing_ok=True)
    if fresh:
        _create(venv)
    _install(venv, lacking)
    for tier in {*kept, *lacking}:
        _stamp(venv, tier).write_text(recipe(), encoding="ascii")
    _making(venv).unlink(missing_ok=True)
    _say(f"{_name(venv)} is ready ({time.monotonic() - began:.0f} s)")


def _refuse_a_foreign_one(venv: Path) -> None:
    # Made by a person, not here: it is completed, never removed.
    if venv.exists() and (not _python(venv).exists() or _is_of_another_python(venv)):
        raise EnvironmentFault(
            f"{_name(venv)} is there, was not made by make, and holds no Python {_version()}: remove it, then try again"
        )


def _create(venv: Path) -> None:
    if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
        raise EnvironmentFault(
            f"Python {_version()} has no venv module: sudo apt-get install python{_version()}-venv (Debian, Ubuntu)"
        )
    _say(f"creating {_name(venv)} with Python {sys.version.split()[0]} ({sys.executable})")
    done = subprocess.run(
        [sys.executable, "-m", "venv", str(venv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        words = " ".join(done.stdout.split()) or "no reason given"
        raise EnvironmentFault(f"python -m venv failed: {words[-300:]}")


def _install(venv: Path, tiers: list[str]) -> None:
    _pip(venv, *requirements("tools"))
    for tier in tiers:
        _say(f"installing {tier} into {_name(venv)}")
        _pip(venv, *requirements(tier))
    # Without build isolation: a build environment of pip's own would escape constraints.txt.
    _pip(venv, "--no-build-isolation", "--editable", ".")
    if "notebooks" in tiers:
        _install_kernelspec(venv)


def _install_kernelspec(venv: Path) -> None:
    command = [str(_python(venv)), "-m", "chatlab", "kernelspec"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise EnvironmentFault(f"the notebooks' kernel could not be installed: {done.stdout.strip()[-300:]}")


def _pip(venv: Path, *what: str) -> None:
    log = venv / "pip.log"
    command = [str(_python(venv)), "-m", "pip", "--disable-pip-version-check", "--no-input", "--log", str(log)]
    # --no-deps: everything is named. A resolver given all versions still looked for others for minutes when one of
    # them could not be had; so it is one line, at once.
    command += ["install", "--no-deps", *what]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    ) as pip:
        complaint = _follow(pip.stdout)
    if pip.returncode:
        raise EnvironmentFault(f"pip failed: {complaint or 'it said nothing'} (all it said: {_name(log)})")
    log.unlink(missing_ok=True)


def _follow(lines) -> str:
    """Show pip's progress, one line that grows on a terminal; give its last complaint, else its last line."""
    complaint, last, count = "", "", 0
    for line in lines:
        last = line.strip() or last
        if line.startswith("ERROR:"):
            complaint = line.removeprefix("ERROR:").strip()
        if line.startswith("Collecting "):
            count += 1
            name = line.split()[1].partition("==")[0].partition("<")[0].partition(">")[0]
            _show_progress(f"  {count:3} {name}")
        elif line.startswith("Installing collected packages"):
            _show_progress(f"  unpacking {count} packages")
    _show_progress("")
    return complaint or last


def _show_progress(text: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", flush=True)


def _say(text: str) -> None:
    print(f"chatlab: {text}", flush=True)


def _stamp(venv: Path, tier: str) -> Path:
    return venv / f".ready-{tier}"


def _making(venv: Path) -> Path:
    return venv / ".making"


def _python(venv: Path) -> Path:
    return venv / "bin" / "python"


def _is_of_another_python(venv: Path) -> bool:
    """Whether the environment is of another Python version than the one that runs this."""
    return not (venv / "lib" / f"python{_version()}").is_dir()


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    sys.exit(main())

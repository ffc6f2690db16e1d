"""Remove what tools left in the course's folder, and nothing that a person wrote."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

MADE_BY_TOOLS = frozenset(
    {"__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints", "build", "chatlab.egg-info"}
)
AT_THE_ROOT_ONLY = frozenset({"build", "chatlab.egg-info"})
ENVIRONMENTS = (".venv", ".venvs")


def remove(root: Path, *, environment: bool) -> tuple[list[Path], list[tuple[Path, OSError]]]:
    """Remove caches below `root`, with `environment` the environments too; what is gone, and what could not be."""
    targets = list(_caches(root))
    if environment:
        targets += [root / name for name in ENVIRONMENTS if (root / name).is_dir()]
    removed, kept = [], []
    for target in targets:
        try:
            shutil.rmtree(target)
        except OSError as error:
            kept.append((target, error))
        else:
            removed.append(target)
    return removed, kept


def _caches(root: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(root):
        here = Path(folder)
        found = [name for name in names if name in MADE_BY_TOOLS and (here == root or name not in AT_THE_ROOT_ONLY)]
        yield from (here / name for name in found)
        # A student's progress and git's own files are not looked into, nor are the environments.
        names[:] = [name for name in names if name not in {*found, *ENVIRONMENTS, ".git", ".chatlab"}]

"""Notebooks made from their text form: read by jupytext, run with the solutions, written with their outputs."""

import hashlib
import json
import os
import time
from pathlib import Path

CELL_SECONDS = 120


class RebuildError(Exception):
    """A notebook does not run; str() is one line."""


def texts(root: Path) -> list[Path]:
    """The text forms of the course's notebooks."""
    return sorted((root / "notebooks" / "text").glob("*.py"))


def digest(book) -> str:
    """SHA-256 of a notebook's cells: kind, source and outputs of each.

    A rebuilt notebook carries it in its metadata, so that one that a student has run or edited is known from one that
    went wrong.
    """
    cells = [(cell.cell_type, cell.source, cell.get("outputs", [])) for cell in book.cells]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def sign(path: Path) -> None:
    """Write a notebook's digest into its metadata."""
    import nbformat

    book = nbformat.read(path, as_version=4)
    book.metadata["chatlab"] = {"sha256": digest(book)}
    nbformat.write(book, path)


def rebuild(root: Path, text: Path, kernel: str) -> float:
    """Make and run one notebook, beside its text's folder; the seconds it took. Raises RebuildError.

    An existing notebook is replaced only by one that ran to its end.
    """
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    began = time.monotonic()
    book = jupytext.read(text, fmt="py:percent")
    book.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    for place, cell in enumerate(book.cells, start=1):
        # jupytext makes the ids at random: numbered ones keep a rebuilt notebook's differences to what changed.
        cell["id"] = f"cell-{place:02}"
    # The kernel inherits this process's environment.
    os.environ["CHATLAB_WORK"] = "solutions"
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    client = NotebookClient(
        book,
        kernel_name=kernel,
        timeout=CELL_SECONDS,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(root / "notebooks")}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise RebuildError(f"notebooks/text/{text.name} fails: {error.ename}: {error.evalue}") from None
    except CellTimeoutError:
        raise RebuildError(f"notebooks/text/{text.name}: a cell took more than {CELL_SECONDS} s") from None
    except DeadKernelError:
        raise RebuildError(f"notebooks/text/{text.name}: the kernel ended") from None
    target = text.parents[1] / f"{text.stem}.ipynb"
    fresh = target.with_name(f".{target.name}.new")
    nbformat.write(book, fresh)
    sign(fresh)
    fresh.replace(target)
    return time.monotonic() - began

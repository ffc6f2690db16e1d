"""The digests of the untouched labs/*/exercises.py, as course.toml records them: `stubs_sha256` of each lab.

`python tests/course/digests.py` compares; with `--write` it records what is there now. Record only untouched stubs.
"""

import argparse
import hashlib
import re
import sys
import tempfile
import tomllib
from pathlib import Path

from chatlab.course import CourseError, load

ROOT = Path(__file__).resolve().parents[2]
KEY = "stubs_sha256"


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recorded(manifest: str) -> dict[str, str | None]:
    """The digest recorded for each lab that has exercises, by its folder; None where there is none."""
    return {lab["folder"]: lab.get(KEY) for lab in tomllib.loads(manifest)["lab"] if lab.get("exercise")}


def record(manifest: str, digests: dict[str, str]) -> str:
    """Return the manifest's text with these digests, by folder, each on the line below its lab's points."""
    head, *labs = re.split(r"(?m)^(?=\[\[lab\]\]\s*$)", manifest)
    for place, text in enumerate(labs):
        folder = tomllib.loads(text)["lab"][0]["folder"]
        if folder in digests:
            bare = re.sub(rf"(?m)^{KEY} = .*\n", "", text)
            labs[place] = re.sub(r"(?m)^(points = .*\n)", rf'\g<1>{KEY} = "{digests[folder]}"\n', bare, count=1)
    return head + "".join(labs)


def differing(root: Path = ROOT) -> list[str]:
    """The folders of the built labs whose exercises.py is missing or is not the one recorded."""
    there = recorded((root / "course.toml").read_text(encoding="utf-8"))
    return [folder for folder, known in there.items() if _current(root, folder) != known]


def is_touched(folder: str, root: Path = ROOT) -> bool:
    """Whether a lab's exercises.py is recorded and is another one now: a student is at work."""
    known = recorded((root / "course.toml").read_text(encoding="utf-8")).get(folder)
    return known is not None and _current(root, folder) != known


def _current(root: Path, folder: str) -> str:
    path = root / "labs" / folder / "exercises.py"
    return digest(path) if path.is_file() else "missing"


def write(root: Path = ROOT) -> None:
    """Record the files as they are now. Raises CourseError, writing nothing, if the manifest would not load then."""
    path = root / "course.toml"
    manifest = path.read_text(encoding="utf-8")
    stubs = {folder: root / "labs" / folder / "exercises.py" for folder in recorded(manifest)}
    written = record(manifest, {folder: digest(file) for folder, file in stubs.items() if file.is_file()})
    with tempfile.TemporaryDirectory() as trial:
        Path(trial, "course.toml").write_text(written, encoding="utf-8")
        load(Path(trial))
    path.write_text(written, encoding="utf-8")


def main() -> int:
    """Compare or record, and return the exit status: 1 when a file is not the one recorded."""
    parser = argparse.ArgumentParser(description="Compare labs/*/exercises.py with the digests in course.toml.")
    parser.add_argument("--write", action="store_true", help="record the files as they are now as the untouched stubs")
    if parser.parse_args().write:
        try:
            write()
        except CourseError as error:
            print(f"digests.py: nothing written: {error}", file=sys.stderr)
            return 1
    different = differing()
    for folder in different:
        print(f"labs/{folder}/exercises.py is not the one that course.toml records")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())

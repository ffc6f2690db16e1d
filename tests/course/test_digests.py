"""The recording of the stubs' digests, tested by itself."""

import digests

MANIFEST = """# The course
[course]
points = 100

[[lab]]
number = 1
folder = "01_fork"
points = 16
stubs_sha256 = "old"

[[lab.exercise]]
id = "1.1"
points = 16

[[lab]]
number = 2
folder = "02_socketpair"
points = 16

[[lab.exercise]]
id = "2.1"
points = 16

[[lab]]
number = 3
folder = "03_poll_client"
points = 17
"""


def test_only_built_labs_are_listed():
    assert digests.recorded(MANIFEST) == {"01_fork": "old", "02_socketpair": None}


def test_recording_replaces_or_adds_one_line_a_lab():
    written = digests.record(MANIFEST, {"01_fork": "new", "02_socketpair": "abc"})
    assert digests.recorded(written) == {"01_fork": "new", "02_socketpair": "abc"}
    assert written.replace('stubs_sha256 = "new"\n', "").replace('stubs_sha256 = "abc"\n', "") == MANIFEST.replace(
        'stubs_sha256 = "old"\n', ""
    )
    assert digests.record(written, {"01_fork": "new", "02_socketpair": "abc"}) == written


def test_a_changed_and_a_missing_file_are_named(tmp_path):
    for folder in ("01_fork", "02_socketpair"):
        (tmp_path / "labs" / folder).mkdir(parents=True)
        (tmp_path / "labs" / folder / "exercises.py").write_text(folder)
    stubs = {
        folder: digests.digest(tmp_path / "labs" / folder / "exercises.py") for folder in digests.recorded(MANIFEST)
    }
    (tmp_path / "course.toml").write_text(digests.record(MANIFEST, stubs))
    assert digests.differing(tmp_path) == []
    (tmp_path / "labs/01_fork/exercises.py").write_text("changed")
    (tmp_path / "labs/02_socketpair/exercises.py").unlink()
    assert digests.differing(tmp_path) == ["01_fork", "02_socketpair"]

"""The feedback that the README shows is what a student with that mistake reads, random numbers apart."""

import re
import shutil

import overlay
import pytest
from tree import IN_CI, ROOT

from chatlab.judge import run

WRONG = ROOT / "tests" / "wrong_answers" / "01_fork" / "1.2_one_waitpid.py"
CHECK = "test_every_child_is_reaped"


@pytest.mark.skipif(not shutil.which("strace") and not IN_CI, reason="without strace there is nothing to look at")
def test_the_shown_feedback_is_the_judges(tmp_path):
    (shown,) = re.findall(r"(?ms)^```text\n(1\.2 .*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"))
    seed = int(re.search(r"CHATLAB_SEED=(\d+)", shown)[1])
    target = tmp_path / "01_fork" / "exercises.py"
    target.parent.mkdir()
    target.write_text(overlay.make(overlay.read(WRONG)), encoding="utf-8")
    (verdict,) = run(tmp_path, ["1.2"], check=CHECK, seed=seed)
    # Which children have ended by then, and with which pids, is up to the kernel.
    assert _plain(shown) == _plain(f"{verdict.line}\n\n{verdict.feedback}"), "copy what the judge says into README.md"


def _plain(text: str) -> str:
    return re.sub(
        r"(process N (is a zombie|runs)(; )?)+", "processes", re.sub(r"process \d+", "process N", text)
    ).strip()

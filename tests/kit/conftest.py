"""The fixtures of the judge's tests: exercises judged in small courses made for them."""

import os

import pytest

from chatlab.judge import contain, run
from tests.kit import mini_course


@pytest.fixture(params=["bubblewrap", "subreaper"])
def tier(request, monkeypatch):
    """Both containments; the first only where bubblewrap works, which CI demands."""
    if request.param == contain.SUBREAPER:
        monkeypatch.setenv("CHATLAB_SANDBOX", contain.SUBREAPER)
    elif contain.tier() != contain.BUBBLEWRAP:
        assert "CI" not in os.environ, "CI has bubblewrap"
        pytest.skip("bubblewrap is not installed, or does not work here")
    return request.param


@pytest.fixture
def judged(tmp_path):
    """judged(code, checks) → the Verdict of exercise 1.1 of a course made of them."""

    def judge(code: str, checks: str = mini_course.RETURNS, *, warm: bool = True, **options):
        mini_course.make(tmp_path, checks, code=code, **options)
        return run("labs", ["1.1"], root=tmp_path, warm=warm)[0]

    return judge

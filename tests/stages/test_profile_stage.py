"""The profile of a recipe: bad requests are refused before anything is measured."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bedplate.core.console import Console
from bedplate.core.errors import InputError
from bedplate.stages.profile_stage import profile_recipe, tell


def test_it_tells_where_the_time_goes_and_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = profile_recipe("wine", steps=3)
    assert not list(tmp_path.iterdir())
    stream = io.StringIO()
    tell(found, Console(stream))
    text = stream.getvalue()
    for words in ("ms a step", "optimiser", "GFLOP a step", "measured now:", "rows/s", "memory"):
        assert words in text
    assert text.strip().splitlines()[-1] == found.verdict


def test_bad_requests_are_refused_first(tmp_path: Path) -> None:
    for steps in (0, 5000):
        with pytest.raises(InputError, match="not a number of steps"):
            profile_recipe("no-such-recipe", steps=steps)
    for trace, word in ((tmp_path, "a folder"), (tmp_path / "a.txt", "JSON"), (tmp_path / "no" / "a.json", "no such")):
        with pytest.raises(InputError, match=word):
            profile_recipe("no-such-recipe", trace=trace)

"""The range test of a recipe writes nothing but the chart that it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.core.errors import InputError
from bedplate.stages.rate_test import find_recipe_rate, lines

QUICK = ["model={name: mlp, hidden: [16]}"]


def test_nothing_is_written_but_the_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    curve = find_recipe_rate("wine", overrides=QUICK, steps=80, out=tmp_path / "c.html")
    assert [path.name for path in tmp_path.iterdir()] == ["c.html"]
    again = find_recipe_rate("wine", overrides=[*QUICK, "training.optimizer.lr=0.7", "training.epochs=1"], steps=80)
    assert again.suggestion == pytest.approx(curve.suggestion)
    assert f"training.optimizer.lr={curve.suggestion:.2g}" in lines(curve)[1]


def test_a_chart_of_another_kind_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.svg or \.html"):
        find_recipe_rate("no-such-recipe", out=tmp_path / "c.png")

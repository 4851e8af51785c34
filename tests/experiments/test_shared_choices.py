"""All runs of an experiment are computed alike, unless an arm says otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bedplate.core.errors import RecipeError
from bedplate.core.files import read_json, write_json
from bedplate.experiments.experiment import ExperimentOutcome
from bedplate.experiments.matrix import build_matrix
from bedplate.experiments.shared_choices import FILE, keep_shared, use_shared
from bedplate.experiments.spec import parse_experiment


def test_real_runs_share_the_choices_of_the_first(wine: ExperimentOutcome) -> None:
    shared = read_json(wine.path / FILE)
    assert shared["run"] == "full, seed 0"
    for file in wine.path.glob("cells/*/*/train/choices.json"):
        assert read_json(file)["settled"] == shared["settled"], file
    assert wine.figures["arms"][0]["n"] == 3


def test_what_an_arm_says_itself_stays(tmp_path: Path) -> None:
    text = "name: a\nbase: wine\narms: {a: {}, b: {training.precision: fp32, training.threads: 1}}"
    first, second = build_matrix(parse_experiment(text), Path()).cells
    measured = {"device": "cpu", "precision": "bf16", "memory_format": "channels_last", "compile": False}
    settled = {**measured, "batch_size": 64, "threads": 2}
    write_json(tmp_path / first.folder / "train" / "choices.json", {"settled": settled, "reasons": {}})
    keep_shared(tmp_path, first)
    use_shared(tmp_path, second)
    found = json.loads((tmp_path / second.folder / "train" / "choices.json").read_text())
    own = second.resolved.recipe.training.batch_size
    assert found["settled"] == {**measured, "precision": "fp32", "threads": 1, "batch_size": own}
    assert "full" not in found["reasons"]["precision"]
    assert "measured once, for a, seed 0" in found["reasons"]["memory_format"]
    keep_shared(tmp_path, second)
    assert read_json(tmp_path / FILE)["settled"] == settled, "the first run's stay"


def test_a_batch_size_that_would_be_measured_anew_is_refused() -> None:
    text = "name: a\nbase: wine\noverrides: {training.batch_size: auto}\narms: {a: {}, b: {training.accumulate: 1}}"
    with pytest.raises(RecipeError, match="batch size that stays"):
        build_matrix(parse_experiment(text), Path())

"""What cells say together: verdicts only where the runs allow them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bedplate.experiments.analysis import analyse, verdict
from bedplate.experiments.experiment import ExperimentOutcome
from bedplate.experiments.matrix import Cell, Matrix, build_matrix
from bedplate.experiments.spec import parse_experiment


def outcome(matrix: Matrix, figures: dict[str, list[float]]) -> dict[str, Any]:
    """Return the analysis of made-up figures: one a run of each arm, on both splits."""
    found: dict[Cell, dict[str, Any]] = {}
    for arm, values in figures.items():
        for cell, value in zip(matrix.of(arm), values, strict=False):
            metrics = {split: {matrix.metric: {"value": value}} for split in ("validation", "test")}
            found[cell] = {
                "metrics": metrics, "rows": {"train": 80, "validation": 20, "test": 20}, "split": str(cell.key),
                "parameters": 10, "seconds": 1.0,
                "history": [{"epoch": 1, "validation_accuracy": value, "validation_loss": 1.0}],
            }  # fmt: skip
    return analyse(matrix, found, Path())


def matrix(extra: str, arms: str = "{a: {}, b: {}, c: {}}", metric: str = "f1") -> Matrix:
    return build_matrix(parse_experiment(f"name: a\nbase: wine\nmetric: {metric}\narms: {arms}\n{extra}"), Path())


def by_name(found: dict[str, Any]) -> dict[str, Any]:
    return {arm["name"]: arm["comparison"] for arm in found["arms"]}


def test_a_large_steady_difference_is_real_and_noise_is_not() -> None:
    found = outcome(
        matrix("seeds: 5"),
        {"a": [0.90, 0.91, 0.92, 0.90, 0.91], "b": [0.80, 0.82, 0.82, 0.81, 0.80], "c": [0.91, 0.90, 0.92, 0.91, 0.90]},
    )
    comparisons = by_name(found)
    assert comparisons["a"] is None
    assert comparisons["b"]["verdict"] == "worse, real"
    assert comparisons["c"]["verdict"] == "no difference shown"
    assert comparisons["b"]["p_holm"] == pytest.approx(2 * comparisons["b"]["p_value"])
    assert found["correction"] == "Holm"
    assert found["best"] == "a"
    assert any("points (c)" in note and "(b)" not in note for note in found["notes"]), "what could have been seen"


def test_so_few_runs_say_nothing() -> None:
    two = by_name(outcome(matrix("seeds: 2"), {"a": [0.9, 0.91], "b": [0.5, 0.511], "c": [0.9, 0.9]}))
    assert two["b"]["verdict"] == "too few runs to conclude (n = 2)"
    found = outcome(matrix("seeds: 1"), {"a": [0.9], "b": [0.5], "c": [0.9]})
    assert by_name(found)["b"]["verdict"] == "one run each: says nothing"
    assert any("nothing can be concluded" in note for note in found["notes"])
    three = by_name(outcome(matrix("seeds: 3"), {"a": [0.9, 0.7, 0.8], "b": [0.8, 0.8, 0.8], "c": [0.9, 0.7, 0.81]}))
    assert three["b"]["verdict"] == "no difference shown (n = 3 is few)"


def test_folds_are_corrected_and_say_so() -> None:
    figures = {"a": [0.90, 0.91, 0.92, 0.90, 0.91], "b": [0.88, 0.90, 0.89, 0.89, 0.90], "c": [0.9] * 5}
    plain, folded = outcome(matrix("seeds: 5"), figures), outcome(matrix("folds: 5"), figures)
    assert folded["overlap"] == pytest.approx(0.25)
    assert by_name(folded)["b"]["p_value"] > by_name(plain)["b"]["p_value"]
    assert any("Nadeau and Bengio" in note for note in folded["notes"])


def test_only_pairs_that_are_there_are_compared() -> None:
    found = outcome(matrix("seeds: 4"), {"a": [0.9, 0.9, 0.8, 0.9], "b": [0.8, 0.7]})
    assert by_name(found)["b"]["n"] == 2
    assert by_name(found)["c"]["verdict"] == "no runs to compare"
    assert any("missing of: b, c" in note for note in found["notes"])


def test_choosing_on_the_test_split_is_said_aloud() -> None:
    figures = {arm: [0.9, 0.8, 0.7] for arm in "abc"}
    on_test = outcome(matrix("seeds: 3\njudged_on: test"), figures)
    assert any("picks on the test split" in note for note in on_test["notes"])
    assert any("chose nothing" in note for note in outcome(matrix("seeds: 3"), figures)["notes"])


def test_lower_is_better_where_it_is() -> None:
    one = {"difference": -0.1, "p_holm": 0.01, "over": "runs", "n": 5, "rows": None}
    assert verdict(one, "log_loss", 0.95) == "better, real"
    assert verdict(one, "accuracy", 0.95) == "worse, real"
    assert verdict({**one, "rows": {"low": -0.2, "high": 0.1}}, "accuracy", 0.95) == (
        "worse on these rows, not shown beyond them"
    )
    assert "on these rows" in verdict({**one, "over": "rows", "n": 1}, "accuracy", 0.95)


def test_real_cells_are_summed_up_as_numpy_does(wine: ExperimentOutcome) -> None:
    figures = wine.figures
    for arm in figures["arms"]:
        values = [run["validation"] for run in arm["runs"]]
        assert arm["validation"]["mean"] == pytest.approx(np.mean(values))
        assert arm["validation"]["sd"] == pytest.approx(np.std(values, ddof=1))
        assert arm["validation"]["low"] <= arm["validation"]["mean"] <= arm["validation"]["high"] <= 1
    tiny = next(arm for arm in figures["arms"] if arm["name"] == "tiny")
    assert tiny["comparison"]["rows"] is not None, "all cells judged the same rows"
    assert tiny["comparison"]["n"] == 3
    assert len(tiny["curves"]["validation_accuracy"]) == 6


@pytest.mark.parametrize("extra", ["seeds: 5", "folds: 5"])
def test_where_nothing_differs_a_verdict_is_rarely_wrong(extra: str) -> None:
    """400 experiments of equal arms: at most about 5 % of them may name any difference real."""
    draw, plan = np.random.default_rng(11), matrix(extra)
    false = 0
    for _ in range(400):
        # Folds are alike for all arms, and so share their difficulty; what is left is each run's own.
        common = draw.normal(0, 0.02, 5)
        found = outcome(plan, {arm: (0.9 + common + draw.normal(0, 0.01, 5)).tolist() for arm in "abc"})
        false += any(one and one["verdict"].endswith("real") for one in by_name(found).values())
    assert false / 400 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_it_is_said_where_another_metric_takes_the_place_of_the_one_asked_for(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own\ntask: language-modelling\ndata: {source: a.txt}\n")
    arms = "name: a\nbase: own.yaml\narms: {a: {}, b: {data.text.tokens: bpe}}\nseeds: 3"
    found = outcome(build_matrix(parse_experiment(arms), tmp_path), {"a": [3.4, 3.5, 3.4], "b": [2.8, 2.9, 2.9]})
    assert found["metric"] == "bits_per_byte"
    assert found["best"] == "b"
    assert "The arms' tokens differ, and loss is one of a token, so they are compared by bits_per_byte" in " ".join(
        found["notes"]
    )

"""`evaluate` and `Report`: what is found, how it is kept, and how two are compared."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from bedplate.codecs.answers import Answers
from bedplate.core.errors import GateError, InputError
from bedplate.evaluation import Estimate, Report, evaluate

LABELS = Answers("animal", ("cat", "dog", "owl"))
NUMBER = Answers("price")


def classes(n: int = 600, sharp: float = 2.0, seed: int = 0, **options: object) -> Report:
    """A three-class evaluation; rows and targets are the same for every `sharp`."""
    targets = np.random.default_rng(0).integers(0, 3, n)
    logits = np.random.default_rng(seed + 1).normal(size=(n, 3))
    logits[np.arange(n), targets] += sharp
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = {"x": np.arange(n)}
    return evaluate(
        lambda part: {"probabilities": scores[part["x"]].astype(np.float32)}, rows, targets, LABELS, **options
    )  # type: ignore[arg-type]


def numbers(n: int = 600, noise: float = 1.0, **options: object) -> Report:
    """A regression evaluation."""
    rng = np.random.default_rng(0)
    targets = rng.normal(100, 10, n)
    values = targets + noise * rng.normal(size=n)
    return evaluate(lambda part: {"value": values[part["x"]]}, {"x": np.arange(n)}, targets, NUMBER, **options)  # type: ignore[arg-type]


def test_every_figure_of_a_classifier_has_its_interval() -> None:
    report = classes()
    assert list(report.metrics) == [
        "accuracy", "precision", "recall", "f1", "log_loss", "auroc", "auprc", "brier", "ece",
    ]  # fmt: skip
    for name, estimate in report.metrics.items():
        assert estimate.low <= estimate.value <= estimate.high or name == "ece"
        assert estimate.low < estimate.high
    assert [one["label"] for one in report.per_class] == ["cat", "dog", "owl"]
    assert all(one["f1"]["low"] < one["f1"]["value"] < one["f1"]["high"] for one in report.per_class)
    assert report.confusion is not None
    counts = np.array(report.confusion["counts"])
    assert counts.sum() == 600
    assert np.trace(counts) / 600 == pytest.approx(report.metrics["accuracy"].value)
    assert counts.sum(axis=1).tolist() == [one["rows"] for one in report.per_class]
    assert sum(one["rows"] for one in report.calibration) == 600
    assert report.outputs is not None
    assert report.outputs.shape == (600, 3)


def test_the_worst_answers_are_wrong_and_sure() -> None:
    report = classes(ids=[f"photo{i}" for i in range(600)])
    assert len(report.worst) == 24
    sure = [one["confidence"] for one in report.worst]
    assert sure == sorted(sure, reverse=True)
    assert all(one["expected"] != one["answer"] and one["id"] == f"photo{one['row']}" for one in report.worst)


def test_a_regressor() -> None:
    report = numbers()
    assert list(report.metrics) == ["rmse", "mae", "r2"]
    assert report.metrics["rmse"].value == pytest.approx(1, abs=0.1)
    assert report.residuals is not None
    assert sum(report.residuals["counts"]) == 600
    assert len(report.residuals["points"]) == 500
    assert abs(report.worst[0]["error"]) >= abs(report.worst[1]["error"])
    assert report.worst[0]["error"] == pytest.approx(report.worst[0]["answer"] - report.worst[0]["expected"])
    assert {one.column for one in report.slices} == {"price"}
    assert len(report.slices) == 4


def test_slices_name_the_worst() -> None:
    n = 600
    targets = np.random.default_rng(0).integers(0, 2, n)
    town = np.array(["north", "south", "east"])[np.arange(n) % 3]
    right = (town != "south") | (np.arange(n) % 2 == 0)
    scores = np.eye(2)[np.where(right, targets, 1 - targets)]
    report = evaluate(
        lambda part: {"probabilities": scores[part["x"]]}, {"x": np.arange(n)}, targets, Answers("y", ("no", "yes"), 1),
        slices={"town": town, "rare": np.array(["a"] * (n - 3) + ["b"] * 3)},
    )  # fmt: skip
    assert report.worst_slice is not None
    assert (report.worst_slice.column, report.worst_slice.value) == ("town", "south")
    assert report.worst_slice.high < report.metrics["accuracy"].value
    assert not any(one.value == "b" for one in report.slices)
    north = next(one for one in report.slices if one.value == "north")
    assert (north.figure, north.high) == (1.0, 1.0)
    assert north.low < 1


def test_json_and_back() -> None:
    for report in (classes(), numbers()):
        text = json.dumps(report.to_json(), allow_nan=False)
        again = Report.from_json(json.loads(text))
        assert again.to_json() == report.to_json()
        assert np.allclose(again.row_errors, report.row_errors)
        assert again.outputs is None


@pytest.mark.parametrize("change", [{"metrics": None}, {"row_errors": "!!"}, {"slices": [{"x": 1}]}])
def test_a_damaged_report_is_an_input_error(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="damaged report"):
        Report.from_json({**classes(100, resamples=0).to_json(), **change})


def test_the_same_seed_gives_the_same_report_and_batches_do_not_matter() -> None:
    assert classes(seed=4).to_json() == classes(seed=4, batch_size=7).to_json()


def test_without_resamples_an_interval_is_its_value() -> None:
    for report in (classes(resamples=0), numbers(resamples=0)):
        assert all(one == Estimate(one.value, one.value, one.value) for one in report.metrics.values())
        assert report.worst_slice is None


def test_undefined_metrics_are_left_out() -> None:
    report = evaluate(
        lambda part: {"probabilities": np.full((len(part["x"]), 3), 1 / 3)}, {"x": np.arange(50)},
        np.zeros(50, np.int64), LABELS,
    )  # fmt: skip
    assert "auroc" not in report.metrics
    assert report.metrics["accuracy"].value == 1.0
    json.dumps(report.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("outputs", "error", "what"),
    [
        (np.full((5, 3), np.nan), GateError, r"not finite.*NaN or infinity in 5 of 5 rows.*lr"),
        (np.zeros((5, 2)), InputError, r"another shape.*\[5, 3\].*\[5, 2\]"),
    ],
)
def test_answers_that_cannot_be_judged(outputs: np.ndarray, error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        evaluate(lambda part: {"probabilities": outputs}, {"x": np.zeros(5)}, np.zeros(5, int), LABELS)


def test_rows_that_do_not_fit_together() -> None:
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate(dict, {"x": np.zeros(0)}, np.zeros(0, int), LABELS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"5 input rows and 4 targets"):
        evaluate(dict, {"x": np.zeros(5)}, np.zeros(4, int), LABELS)  # type: ignore[arg-type]


def test_a_real_difference_on_the_same_rows() -> None:
    weak, strong = classes(sharp=1.0), classes(sharp=3.0)
    verdict = strong.compare(weak)
    assert verdict.paired
    assert verdict.real
    assert verdict.p_value is not None
    assert verdict.p_value < 1e-6
    assert 0 < verdict.low < verdict.difference < verdict.high
    assert "really better" in verdict.text
    assert "really worse" in weak.compare(strong).text
    # The word says which way: the amount and its interval have one sign, from either side.
    told = f"by {verdict.difference:.2g} ({verdict.low:.2g} to {verdict.high:.2g}), on"
    assert told in verdict.text
    assert told in weak.compare(strong).text
    kept = Report.from_json(json.loads(json.dumps(strong.to_json())))
    assert kept.compare(weak) == verdict


def test_no_real_difference() -> None:
    verdict = classes(seed=1).compare(classes(seed=2))
    assert verdict.paired
    assert not verdict.real
    assert "no real difference" in verdict.text
    same = classes(seed=1).compare(classes(seed=1))
    assert (same.difference, same.p_value, same.real) == (0.0, 1.0, False)


def test_regressors_and_other_rows_are_compared_too() -> None:
    verdict = numbers(noise=1.0).compare(numbers(noise=1.2))
    assert verdict.paired
    assert verdict.real
    assert "really better" in verdict.text
    unpaired = numbers(600, noise=1.0).compare(numbers(500, noise=3.0))
    assert not unpaired.paired
    assert unpaired.real
    assert "different rows" in unpaired.text
    with pytest.raises(InputError, match="two kinds"):
        numbers().compare(classes())


def test_ten_thousand_rows_of_ten_classes_take_seconds() -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(10), 10_000)
    start = time.monotonic()
    evaluate(
        lambda part: {"probabilities": scores[part["x"]]}, {"x": np.arange(10_000)}, rng.integers(0, 10, 10_000),
        Answers("y", tuple("abcdefghij")),
    )  # fmt: skip
    assert time.monotonic() - start < 30


def test_few_rows_tell_nothing() -> None:
    targets, draw = np.arange(4.0), np.random.default_rng(0)
    answers = Answers("number")
    first, second = (
        evaluate(lambda _, by=by: {"value": targets + by}, {"x": np.zeros(4)}, targets, answers, resamples=50)
        for by in (0.1 + 0.001 * draw.random(4), 5.0 + 0.001 * draw.random(4))
    )
    verdict = first.compare(second)
    assert not verdict.real
    assert "4 test rows can't tell which is better" in verdict.text

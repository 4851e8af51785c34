"""Figures of sets of labels are scikit-learn's, under any weights of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from bedplate.codecs.answers import Answers
from bedplate.evaluation import evaluate, metric_drop
from bedplate.evaluation.label_sets import LabelSetFacts
from bedplate.evaluation.metrics import LABEL_SETS
from bedplate.evaluation.report import Report


def drawn(seed: int, rows: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    targets = (draw.random((rows, labels)) < 0.4).astype(np.uint8)
    scores = np.clip(0.6 * targets + 0.7 * draw.random((rows, labels)) - 0.1, 0, 1)
    return scores, targets


@given(st.integers(0, 1000), st.integers(2, 40), st.integers(1, 6))
def test_they_are_scikit_learns(seed: int, rows: int, labels: int) -> None:
    scores, targets = drawn(seed, rows, labels)
    facts, once = LabelSetFacts(scores, targets), np.ones((1, rows))
    found = {name: values[0] for name, values in (facts.measure(once) | facts.ranking(once)).items()}
    answers = (scores >= 0.5).astype(int)
    told = {"zero_division": 0}
    for name, score in (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
    ):
        wanted = score(targets.ravel(), answers.ravel(), **told)
        assert found[name] == pytest.approx(wanted)
    single = [metrics.f1_score(targets[:, k], answers[:, k], **told) for k in range(labels)]
    appears = [k for k in range(labels) if targets[:, k].any() or answers[:, k].any()]
    assert found["macro_f1"] == pytest.approx(np.mean([single[k] for k in appears]) if appears else 0)
    np.testing.assert_allclose(found["by_label"][2], single)
    assert found["subset_accuracy"] == pytest.approx((targets == answers).all(axis=1).mean())
    assert found["hamming_loss"] == pytest.approx((targets != answers).mean())
    there = [k for k in range(labels) if targets[:, k].any()]
    if there:
        areas = [metrics.average_precision_score(targets[:, k], scores[:, k]) for k in there]
        assert found["auprc"] == pytest.approx(np.mean(areas))
    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    losses = -np.where(targets, np.log(clipped), np.log(1 - clipped))
    assert found["log_loss"] == pytest.approx(losses.mean())


def test_weights_are_rows_drawn_several_times() -> None:
    scores, targets = drawn(3, 12, 3)
    times = np.random.default_rng(0).integers(0, 4, 12)
    weighted = LabelSetFacts(scores, targets).measure(times[None].astype(float))
    again = LabelSetFacts(np.repeat(scores, times, axis=0), np.repeat(targets, times, axis=0))
    for name, values in again.measure(np.ones((1, times.sum()))).items():
        np.testing.assert_allclose(weighted[name], values)


def test_a_report_tells_them_label_by_label_and_survives_json() -> None:
    scores, targets = drawn(5, 60, 3)
    answers = Answers("subjects", many=("a", "b", "c"))
    report = evaluate(lambda _: {"label_probabilities": scores}, {"x": np.zeros(60)}, targets, answers, resamples=50)
    assert (report.kind, report.leading, list(report.metrics)) == ("multi-label", "f1", list(LABEL_SETS))
    assert [one["label"] for one in report.per_class] == ["a", "b", "c"]
    assert [one["rows"] for one in report.per_class] == targets.sum(axis=0).tolist()
    assert report.worst[0]["error"] == (targets != (scores >= 0.5)).sum(axis=1).max()
    again = Report.from_json(report.to_json())
    np.testing.assert_array_equal(again.row_errors, report.row_errors)
    verdict = report.compare(again)
    assert (verdict.metric, verdict.difference, verdict.real) == ("f1", 0.0, False)
    assert metric_drop("f1", scores, scores, targets, kind="multi-label").value == 0
    assert metric_drop("auprc", scores, 1 - scores, targets, kind="multi-label").value > 20

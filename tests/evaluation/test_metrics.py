"""Metrics against scikit-learn, on ordinary and on awkward rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.evaluation.metrics import (
    CLASSIFICATION,
    REGRESSION,
    ClassificationFacts,
    ForecastFacts,
    LanguageFacts,
    RegressionFacts,
    classification_metrics,
    regression_metrics,
    token_losses,
)


def rows(seed: int, n: int, k: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and targets; with ties many scores are equal. Every class appears."""
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(k), rng.integers(0, k, n)])
    logits = rng.normal(size=(len(targets), k))
    logits[np.arange(len(targets)), targets] += rng.uniform(0, 2)
    if ties:
        logits = np.round(logits)
    scores = np.exp(logits)
    return scores / scores.sum(axis=1, keepdims=True), targets


def by_sklearn(scores: np.ndarray, targets: np.ndarray, positive: int) -> dict[str, float]:
    """The same figures by scikit-learn."""
    answers = scores.argmax(axis=1)
    two = scores.shape[1] == 2
    average = {"average": "binary", "pos_label": positive} if two else {"average": "macro"}
    one_hot = np.eye(scores.shape[1])[targets]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            "accuracy": reference.accuracy_score(targets, answers),
            "precision": reference.precision_score(targets, answers, zero_division=0, **average),
            "recall": reference.recall_score(targets, answers, zero_division=0, **average),
            "f1": reference.f1_score(targets, answers, zero_division=0, **average),
            "log_loss": reference.log_loss(targets, scores, labels=range(scores.shape[1])),
        }
    if two:
        hit = (targets == positive).astype(int)
        found["auroc"] = reference.roc_auc_score(hit, scores[:, positive])
        found["auprc"] = reference.average_precision_score(hit, scores[:, positive])
        found["brier"] = reference.brier_score_loss(hit, scores[:, positive])
    else:
        found["auroc"] = reference.roc_auc_score(targets, scores, multi_class="ovr")
        found["auprc"] = reference.average_precision_score(one_hot, scores, average="macro")
        found["brier"] = float(((scores - one_hot) ** 2).sum(axis=1).mean())
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 80), st.integers(2, 6), st.booleans(), st.integers(0, 1))
def test_classification_is_scikit_learns(seed: int, n: int, k: int, ties: bool, positive: int) -> None:
    scores, targets = rows(seed, n, k, ties)
    ours = classification_metrics(scores, targets, positive)
    for name, value in by_sklearn(scores, targets, positive).items():
        assert ours[name] == pytest.approx(value, abs=1e-9), name


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_regression_is_scikit_learns(seed: int, n: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    targets = shift + scale * rng.normal(size=n)
    values = targets + scale * rng.normal(size=n)
    ours = regression_metrics(values, targets)
    assert ours["rmse"] == pytest.approx(reference.root_mean_squared_error(targets, values))
    assert ours["mae"] == pytest.approx(reference.mean_absolute_error(targets, values))
    assert ours["r2"] == pytest.approx(reference.r2_score(targets, values), rel=1e-5, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 40), st.integers(2, 4), st.booleans())
def test_a_weighting_is_a_resample(seed: int, n: int, k: int, ties: bool) -> None:
    """Weights that count rows give what repeating those rows gives: the bootstrap rests on this."""
    scores, targets = rows(seed, n, k, ties)
    drawn = np.random.default_rng(seed + 1).integers(0, len(targets), len(targets))
    weights = np.bincount(drawn, minlength=len(targets))[None].astype(float)
    facts = ClassificationFacts(scores, targets)
    weighted = facts.measure(weights) | facts.ranking(weights)
    repeated_facts = ClassificationFacts(scores[drawn], targets[drawn])
    once = np.ones((1, len(drawn)))
    repeated = repeated_facts.measure(once) | repeated_facts.ranking(once)
    for name in CLASSIFICATION:
        assert weighted[name][0] == pytest.approx(repeated[name][0], abs=1e-9, nan_ok=True), name
    assert np.allclose(weighted["by_class"], repeated["by_class"])
    values = scores[:, 0]
    both = (
        RegressionFacts(values, targets).measure(weights),
        RegressionFacts(values[drawn], targets[drawn]).measure(once),
    )
    for name in REGRESSION:
        assert both[0][name][0] == pytest.approx(both[1][name][0], abs=1e-9, nan_ok=True), name


def test_many_weightings_at_once_are_each_alone() -> None:
    scores, targets = rows(3, 50, 4, False)
    facts = ClassificationFacts(scores, targets)
    weights = np.random.default_rng(0).integers(0, 3, (7, len(targets))).astype(float)
    together = facts.measure(weights) | facts.ranking(weights)
    for i in range(7):
        alone = facts.measure(weights[i : i + 1]) | facts.ranking(weights[i : i + 1])
        for name, values in together.items():
            assert np.allclose(values[i], alone[name][0])


def test_calibration_error_by_its_definition() -> None:
    scores, targets = rows(5, 400, 3, False)
    confidence, correct = scores.max(axis=1), scores.argmax(axis=1) == targets
    expected = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert classification_metrics(scores, targets)["ece"] == pytest.approx(expected)


def test_one_class_alone_has_no_ranking_metric() -> None:
    found = classification_metrics(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))
    assert np.isnan(found["auroc"])
    assert found["accuracy"] == 0.5
    assert found["recall"] == 0.0


def test_certain_and_wrong_has_a_finite_loss() -> None:
    found = classification_metrics(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.array([1, 0]))
    assert 10 < found["log_loss"] < 20


def test_constant_targets_have_no_r2() -> None:
    assert np.isnan(regression_metrics(np.array([1.0, 2.0]), np.array([1e6, 1e6]))["r2"])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 20), st.integers(1, 5), st.integers(1, 3))
def test_forecasts_are_judged_by_column_and_as_scikit_learn_has_it(seed: int, n: int, steps: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    values, targets = rng.normal(size=(2, n, steps, columns))
    scale, naive = rng.uniform(0.5, 9, (2, columns))
    facts = ForecastFacts(values, targets, scale, naive)
    found = {name: one[0] for name, one in facts.measure(np.ones((1, n))).items()}
    flat, truth = ((one / scale).reshape(n * steps, columns) for one in (values, targets))
    assert found["mse"] == pytest.approx(reference.mean_squared_error(truth, flat))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(truth, flat))
    each = reference.mean_absolute_error(truth, flat, multioutput="raw_values") * scale / naive
    assert found["mase"] == pytest.approx(each.mean())
    assert facts.by_step.mean() == pytest.approx(found["mse"])
    assert facts.by_column.mean() == pytest.approx(found["mse"])
    weights = rng.integers(0, 3, n).astype(float) + 1
    again = ForecastFacts(*(np.repeat(one, weights.astype(int), axis=0) for one in (values, targets)), scale, naive)
    once = again.measure(np.ones((1, again.rows)))
    for name, one in facts.measure(weights[None]).items():
        assert one[0] == pytest.approx(once[name][0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 9), st.integers(2, 7))
def test_a_language_model_is_judged_token_by_token(seed: int, n: int, length: int, vocabulary: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, length, vocabulary)).astype(np.float32)
    targets, sizes = rng.integers(0, vocabulary, (n, length)), rng.integers(1, 4, vocabulary).tolist()
    losses = token_losses(logits, targets)
    scores = np.exp(logits.reshape(-1, vocabulary).astype(float))
    flat = scores / scores.sum(axis=1, keepdims=True)
    wanted = reference.log_loss(targets.reshape(-1), flat, labels=range(vocabulary))
    facts = LanguageFacts(losses, targets, sizes)
    found = {name: one[0] for name, one in facts.measure(np.ones((1, n))).items()}
    assert found["loss"] == pytest.approx(wanted, rel=1e-5)
    assert found["perplexity"] == pytest.approx(np.exp(wanted), rel=1e-5)
    size = sum(sizes[token] for token in targets.reshape(-1).tolist())
    assert found["bits_per_byte"] == pytest.approx(wanted * n * length / np.log(2) / size, rel=1e-5)
    weights = rng.integers(1, 4, n)
    again = LanguageFacts(np.repeat(losses, weights, axis=0), np.repeat(targets, weights, axis=0), sizes)
    once = again.measure(np.ones((1, again.rows)))
    for name, one in facts.measure(weights[None].astype(float)).items():
        assert one[0] == pytest.approx(once[name][0])


def test_scores_of_what_cannot_come_are_no_trouble() -> None:
    logits = np.array([[[-np.inf, 0.0, 0.0]]], np.float32)
    assert token_losses(logits, np.array([[1]]))[0, 0] == pytest.approx(np.log(2))

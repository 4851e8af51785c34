"""Is a difference real? Two predictions for the same rows, compared row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from bedplate.codecs.tags import TagSet, decoded
from bedplate.core.errors import InputError, did_you_mean, listing
from bedplate.evaluation.bootstrap import bootstrap, interval
from bedplate.evaluation.label_sets import LabelSetFacts
from bedplate.evaluation.metrics import (
    CLASSIFICATION,
    FORECASTS,
    LABEL_SETS,
    LANGUAGE,
    LOWER_IS_BETTER,
    QUANTILES,
    REGRESSION,
    TAGGING,
    ClassificationFacts,
    ForecastFacts,
    Measure,
    RegressionFacts,
)
from bedplate.evaluation.neighbours import EMBEDDINGS, EmbeddingFacts
from bedplate.evaluation.tagging import TaggingFacts, entity_scores

ENDLESS = 1e6
"""In percent: what errors have grown by at the most, and where there were none before."""


@dataclass(frozen=True)
class Drop:
    """How much worse the second prediction is; `high` is its one-sided upper confidence bound.

    In percentage points of accuracy, or in relative percent of RMSE; negative where the second is better.
    """

    value: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """Whether a difference in `metric` (this minus other) is real, and the `text` that says so.

    `p_value` is McNemar's exact one for classifiers on the same rows, else None; `paired` says whether the rows were
    the same.
    """

    metric: str
    this: float
    other: float
    difference: float
    low: float
    high: float
    p_value: float | None
    paired: bool
    real: bool
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON."""
        return asdict(self)


def amount(difference: float, low: float, high: float) -> str:
    """Return how much better or worse something is, with its interval: without a sign, for the word has it.

    Example:
        >>> amount(-0.018, -0.02, -0.016)
        '0.018 (0.016 to 0.02)'
    """
    if difference < 0:
        low, high = 0.0 - high, 0.0 - low
    return f"{abs(difference):.2g} ({low:.2g} to {high:.2g})"


def paired_drop(
    before: np.ndarray, after: np.ndarray, targets: np.ndarray, *, confidence: float = 0.95, resamples: int = 1000,
    seed: int = 0,
) -> Drop:  # fmt: skip
    """Return the drop from `before` to `after` on the same rows, with its upper bound.

    Args:
        before: probabilities [N,K] (accuracy is compared), values [N] (RMSE is) or forecasts [N, steps, columns] (RMSE
            of all their numbers is, each column's divided by its spread in `targets`).
        after: the same, from the other prediction.
        targets: class indices [N], values [N] or what came [N, steps, columns].
        confidence: of the one-sided bound.
        resamples: of the bootstrap (RMSE only).
        seed: of the bootstrap.

    The bound for accuracy is Agresti and Min's (2005) for matched proportions, which keeps its coverage where few or no
    answers differ; the bound for RMSE is a paired percentile bootstrap's.
    """
    if before.ndim == 2:
        lost = (before.argmax(axis=1) == targets) & (after.argmax(axis=1) != targets)
        gained = (before.argmax(axis=1) != targets) & (after.argmax(axis=1) == targets)
        return _accuracy_drop(int(lost.sum()), int(gained.sum()), len(targets), confidence)
    first, second = (_squares(values, targets) for values in (before, after))
    block = targets.shape[1] if targets.ndim == 3 else 1

    def relative(weights: np.ndarray) -> dict[str, np.ndarray]:
        old, new = np.sqrt(weights @ first), np.sqrt(weights @ second)
        return {"drop": _worse(old, new)}

    value = float(relative(np.ones((1, len(first))))["drop"][0])
    samples = bootstrap(relative, len(first), resamples, seed, block)["drop"]
    return Drop(value, float(np.quantile(samples, confidence, method="higher")))


def _worse(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return by how many percent errors have grown; `ENDLESS` where there were none, since JSON has no infinity."""
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = 100 * (new - old) / old
    return np.where(old > 0, np.minimum(grown, ENDLESS), np.where(new > 0, ENDLESS, 0.0))


def perplexity_drop(
    before: np.ndarray, after: np.ndarray, targets: np.ndarray, *, confidence: float = 0.95, resamples: int = 1000,
    seed: int = 0,
) -> Drop:  # fmt: skip
    """Return by how many percent the perplexity rises, with its upper bound (a paired bootstrap over the windows).

    Args:
        before: the loss of every token in nats [N, tokens].
        after: the same, from the other prediction.
        targets: the tokens [N, tokens]; -1 where none is judged.
        confidence: of the one-sided bound.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    judged = targets >= 0
    change, tokens = ((np.asarray(after, np.float64) - before) * judged).sum(axis=1), judged.sum(axis=1)
    samples = bootstrap(lambda w: {"drop": w @ change / (w @ tokens)}, len(change), resamples, seed)["drop"]
    high = float(np.quantile(samples, confidence, method="higher"))
    return Drop(100 * float(np.expm1(change.sum() / tokens.sum())), 100 * float(np.expm1(high)))


def _squares(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return each row's (mean) squared error [N]."""
    if targets.ndim == 1:
        return np.asarray(np.square(np.asarray(values, np.float64).reshape(-1) - targets))
    if values.ndim > targets.ndim:  # of quantiles the middle one, which is the median where as many lie on both sides
        values = values[..., values.shape[-1] // 2]
    spread = np.asarray(targets, np.float64).std(axis=(0, 1))
    errors = (np.asarray(values, np.float64) - targets) / np.where(spread > 0, spread, 1.0)
    return np.asarray(np.square(errors).mean(axis=(1, 2)))


def metric_drop(
    metric: str, before: np.ndarray, after: np.ndarray, targets: np.ndarray, *, positive: int | None = None,
    scale: Sequence[float] = (), naive: Sequence[float] = (), levels: Sequence[float] = (),
    tags: Sequence[str] = (), transitions: Sequence[Sequence[float]] = (), kind: str | None = None,
    confidence: float = 0.95, resamples: int = 1000, seed: int = 0,
) -> Drop:  # fmt: skip
    """Return the drop of any metric from `before` to `after` on the same rows, with its one-sided upper bound.

    In percentage points of what should be high, in relative percent of what should be low (`LOWER_IS_BETTER`).
    Accuracy, RMSE and recall at 1 are bounded as `paired_drop` does; every other metric by a paired percentile
    bootstrap over the rows. Of a language model it is the perplexity's, whichever of its metrics is named.

    Args:
        metric: a name of `evaluation.metrics`.
        before: probabilities [N,K], values [N], forecasts, tags' probabilities [N, words, tags], or (with `kind`
            "embedding") vectors [N,D], or (with "language") the loss of every token [N, tokens].
        after: the same, from the other prediction.
        targets: class indices [N], whether each label is there [N, K], values [N], what came, or tags' numbers
            [N, words].
        positive: the positive class's index, for two classes.
        scale: of a forecast's columns, as `ForecastFacts` takes it.
        naive: likewise.
        levels: likewise.
        kind: `Answers.kind`; None goes by the shape, which doesn't tell vectors, or sets of labels, from
            probabilities.
        tags: of words, as `Answers` has them; () for others.
        transitions: likewise.
        confidence: of the bound.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: these answers have no such metric, or it is not defined on these rows.
    """
    by_shape = {1: "regression", 2: "classification", 3: "forecast", 4: "quantiles"}
    kind = kind or ("tagging" if tags else by_shape[before.ndim])
    check_metric(metric, kind)
    if kind == "language":
        return perplexity_drop(before, after, targets, confidence=confidence, resamples=resamples, seed=seed)
    if metric == "recall_at_1":
        old, new = (EmbeddingFacts(vectors, targets).hits for vectors in (before, after))
        return _accuracy_drop(int((old > new).sum()), int((old < new).sum()), len(targets), confidence)
    block = targets.shape[1] if before.ndim >= 3 and not tags else 1
    if metric in ("accuracy", "rmse"):
        return paired_drop(
            before, after, targets, confidence=confidence, resamples=resamples, seed=seed
        )  # fmt: skip
    measures: list[Measure]
    if tags:
        lengths, known = (targets >= 0).sum(axis=1), TagSet(tuple(tags))
        measures = [TaggingFacts(decoded(one, lengths, transitions), targets, known).measure for one in (before, after)]
    elif before.ndim >= 3:
        measures = [ForecastFacts(one, targets, scale, naive, levels).measure for one in (before, after)]
    elif kind == "multi-label":
        sets = [LabelSetFacts(one, targets) for one in (before, after)]
        measures = [facts.ranking if metric == "auprc" else facts.measure for facts in sets]
    elif kind == "embedding":
        measures = [EmbeddingFacts(vectors, targets).measure for vectors in (before, after)]
    else:
        measures = [_measure_of(metric, values, targets, positive) for values in (before, after)]
    lower = metric in LOWER_IS_BETTER

    def drops(weights: np.ndarray) -> dict[str, np.ndarray]:
        old, new = (measure(weights)[metric] for measure in measures)
        if not lower:
            return {"drop": 100 * (old - new)}
        return {"drop": _worse(old, new)}

    value = float(drops(np.ones((1, len(targets))))["drop"][0])
    if math.isnan(value):
        raise InputError(f"'{metric}' is not defined on these rows", hint="it needs rows of every class")
    samples = bootstrap(drops, len(targets), resamples, seed, block)["drop"]
    return Drop(value, float(np.quantile(samples[~np.isnan(samples)], confidence, method="higher")))


def check_metric(metric: str, kind: str) -> None:
    """Raise an InputError unless answers of this kind have this metric.

    They are classification, regression, embedding, language, forecast, quantiles, multi-label or tagging:
    `Answers.kind`.
    """
    known = {
        "classification": CLASSIFICATION, "regression": REGRESSION, "forecast": FORECASTS,
        "quantiles": (*FORECASTS, *QUANTILES), "embedding": EMBEDDINGS, "multi-label": LABEL_SETS, "tagging": TAGGING,
        "language": LANGUAGE,
    }[kind]  # fmt: skip
    if metric not in known:
        raise InputError(
            f"unknown metric '{metric}'", expected=f"one of {listing(known)}", hint=did_you_mean(metric, known)
        )


def _measure_of(metric: str, values: np.ndarray, targets: np.ndarray, positive: int | None) -> Measure:
    if values.ndim == 1:
        return RegressionFacts(values, targets).measure
    facts = ClassificationFacts(values, targets, positive)
    return facts.ranking if metric in ("auroc", "auprc") else facts.measure


def _accuracy_drop(lost: int, gained: int, rows: int, confidence: float) -> Drop:
    b, c, n = lost + 0.5, gained + 0.5, rows + 2
    spread = math.sqrt(b + c - (b - c) ** 2 / n) / n
    high = (b - c) / n + NormalDist().inv_cdf(confidence) * spread
    return Drop(100 * (lost - gained) / rows, 100 * high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value (McNemar 1947) from the rows that only one of two classifiers has right."""
    total, least = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) - total * math.log(2)
        for k in range(least + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(one) for one in logs))


def paired_interval(
    first: np.ndarray, second: np.ndarray, *, rmse: bool, confidence: float, resamples: int, seed: int, block: int = 1
) -> tuple[float, float, float]:
    """Return (difference, low, high), first minus second, of mean `first` and `second` [N] on the same rows.

    With `rmse` the arrays are residuals and the figures are root mean squares; of counts [N,3]
    (`TaggingFacts.counts`) they are F1. A `block` of rows is drawn together.
    """

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(axis=1)
        if first.ndim == 2:
            scores = [entity_scores(*(weights @ one).T)["f1"] for one in (first, second)]
            return {"d": scores[0] - scores[1]}
        if rmse:
            return {"d": np.sqrt(weights @ first**2 / total) - np.sqrt(weights @ second**2 / total)}
        return {"d": weights @ (first - second) / total}

    value = float(difference(np.ones((1, len(first))))["d"][0])
    low, high = interval(bootstrap(difference, len(first), resamples, seed, block)["d"], confidence)
    return value, float(low), float(high)

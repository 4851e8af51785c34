"""Metrics in plain NumPy, each for one weighting of the rows or for many at once (a bootstrap is many weightings).

Per-row facts are worked out once (`ClassificationFacts`, `RegressionFacts`); `measure` then sums them under weights
[R,N], one row of weights a resample, and gives [R] values a metric. A metric that is undefined (AUROC with one class,
R² of constant targets) is NaN. Names and definitions are scikit-learn's, and the tests compare them:

- `accuracy`; `precision`, `recall`, `f1`: of the positive class for two classes, else the mean over the classes that
  appear among targets or answers; 0 where nothing was found or nothing was there;
- `log_loss` (natural logarithm); `brier`: mean squared error of the positive class's probability for two classes, else
  the sum of squared errors over classes, averaged over rows;
- `auroc`, `auprc` (average precision): of the positive class, else the mean of one-against-rest over present classes;
- `ece`: expected calibration error of the answer's probability over 15 equal bins (Guo et al. 2017);
- `rmse`, `mae`, `r2`;
- of tags: see `evaluation.tagging`; of sets of labels: see `evaluation.label_sets`;
- of a forecast: `mse` and `mae` of all its numbers, each column's divided by its spread among the training steps (as
  the literature on long horizons has them); `mase`: each column's mean absolute error over that of "as a season ago"
  among the training steps (Hyndman and Koehler 2006), averaged over the columns. Where it has quantiles these are of
  the median; `pinball` is the mean pinball loss of all of them (Koenker and Bassett 1978), scaled likewise, and
  `coverage` the share of what came that lies between the lowest and the highest;
- of a language model: `loss`, the mean cross-entropy of every next token in nats; `perplexity`, its exponential;
  `bits_per_byte`, the loss in bits over the bytes of the text, which models with other tokens share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

CLASSIFICATION = ("accuracy", "precision", "recall", "f1", "log_loss", "auroc", "auprc", "brier", "ece")
REGRESSION = ("rmse", "mae", "r2")
FORECASTS = ("mse", "mae", "mase")
QUANTILES = ("pinball", "coverage")
LANGUAGE = ("loss", "perplexity", "bits_per_byte")
PER_CLASS = ("precision", "recall", "f1")
LOWER_IS_BETTER = frozenset(
    {"log_loss", "brier", "ece", "hamming_loss", "rmse", "mae", "mse", "mase", "pinball", *LANGUAGE}
)
LABEL_SETS = (
    "f1", "macro_f1", "precision", "recall", "subset_accuracy", "auprc", "hamming_loss", "log_loss",
)  # fmt: skip
TAGGING = ("f1", "precision", "recall", "token_accuracy", "sentence_accuracy")
TEXTS = ("bleu", "exact")
"""Of texts that are answered by texts, beside `LANGUAGE`: see `bedplate.evaluation.texts`."""
CALIBRATION_BINS = 15
RANKING_WORK, FEWEST_RESAMPLES = 500_000_000, 100
"""Ranking costs a pass a class, so with very many of them it is resampled less often: rows · classes · resamples."""
_UNBOUNDED = frozenset({"log_loss", "brier", "rmse", "mae", "mse", "mase", "pinball", *LANGUAGE})


def within_range(metric: str, value: float) -> float:
    """Return a bound of an interval, cut to the values that a metric can take."""
    least = -np.inf if metric == "r2" else 0.0
    most = np.inf if metric in _UNBOUNDED else 100.0 if metric == "bleu" else 1.0
    return float(min(max(value, least), most))


Measure = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Weights [R,N] to values: [R] for each metric."""


@dataclass(frozen=True)
class Ranking:
    """Rows in the order of one class's score; `starts` where the score changes, or None where no two are equal."""

    order: np.ndarray
    positive: np.ndarray
    starts: np.ndarray | None

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray) -> Ranking:
        """Put rows [N] in order by their scores [N]; `positive` says which are to come last."""
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        changes = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        return cls(order, positive[order], None if len(changes) == len(order) else changes)

    def areas(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return AUROC and average precision [R] under weights [R,N]; NaN where a side is empty."""
        ordered = weights[:, self.order]
        hits = ordered * self.positive
        misses = ordered - hits
        if self.starts is not None:  # equal scores are one threshold
            hits, misses = (np.add.reduceat(side, self.starts, axis=1) for side in (hits, misses))
        found, false = hits.sum(axis=1), misses.sum(axis=1)
        below = np.cumsum(misses, axis=1) - misses / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            auroc = np.einsum("rn,rn->r", hits, below) / (found * false)
            hits, both = hits[:, ::-1], (hits + misses)[:, ::-1]
            precision = np.cumsum(hits, axis=1) / np.maximum(np.cumsum(both, axis=1), 1e-300)
            auprc = np.einsum("rn,rn->r", hits, precision) / found
        return np.where(found * false > 0, auroc, np.nan), np.where(found > 0, auprc, np.nan)


def _sums(codes: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Return the weight of each code: [R,size]."""
    return np.stack([np.bincount(codes, weights=row, minlength=size)[:size] for row in weights])


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole; 0 where the whole is 0."""
    shares: np.ndarray = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return shares


class ClassificationFacts:
    """Per-row facts of a classifier's answers.

    Args:
        probabilities: [N,K]; each row about sums to 1.
        targets: class indices [N] in 0..K-1.
        positive: the positive class's index; for two classes None means the second.
    """

    def __init__(self, probabilities: np.ndarray, targets: np.ndarray, positive: int | None = None) -> None:
        tiny = float(np.finfo(probabilities.dtype).eps) if probabilities.dtype.kind == "f" else 1e-15
        scores = np.asarray(probabilities, np.float64)
        self.rows, self.classes = scores.shape
        self.targets = np.asarray(targets, np.int64)
        self.positive = (1 if positive is None else positive) if self.classes == 2 else None
        self.answers = scores.argmax(axis=1)
        self.correct = (self.answers == self.targets).astype(np.float64)
        self.confidence = scores[np.arange(self.rows), self.answers]
        hit = scores[np.arange(self.rows), self.targets]
        self.losses = -np.log(np.clip(hit, tiny, 1 - tiny))
        # Σ(p - y)² = Σp² - 2·p_target + 1 saves a one-hot matrix.
        self.brier = (scores**2).sum(axis=1) - 2 * hit + 1
        if self.positive is not None:
            self.brier = (scores[:, self.positive] - (self.targets == self.positive)) ** 2
        self.bins = np.clip(np.ceil(self.confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
        ranked = range(self.classes) if self.positive is None else [self.positive]
        self._rankings = [Ranking.of(scores[:, k], self.targets == k) for k in ranked if (self.targets == k).any()]

    def per_class(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return `precision`, `recall` and `f1` of every class, [R,K], and its weight in rows as `rows`."""
        actual = _sums(self.targets, weights, self.classes)
        found = _sums(self.answers, weights, self.classes)
        both = _sums(self.targets, weights * self.correct, self.classes)
        scores = {
            "precision": share(both, found),
            "recall": share(both, actual),
            "f1": share(2 * both, actual + found),
        }
        return scores | {"rows": actual, "found": found}

    def ranking(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return `auroc` and `auprc` [R]; the dearest ones, because every class has an order of its own."""
        if not self._rankings:
            nothing = np.full(len(weights), np.nan)
            return {"auroc": nothing, "auprc": nothing}
        areas = np.stack([np.stack(ranking.areas(weights)) for ranking in self._rankings])
        present = ~np.isnan(areas)
        counts = present.sum(axis=0)
        with np.errstate(invalid="ignore"):
            means = np.where(counts > 0, np.where(present, areas, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)
        return {"auroc": means[0], "auprc": means[1]}

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every metric but the ranking ones, [R] each, under weights [R,N].

        `by_class` holds precision, recall and F1 of every class, [R,3,K].
        """
        total = weights.sum(axis=1)
        classes = self.per_class(weights)
        averaged: dict[str, np.ndarray] = {}
        for name in PER_CLASS:
            if self.positive is not None:
                averaged[name] = classes[name][:, self.positive]
            else:
                appears = (classes["rows"] + classes["found"]) > 0
                averaged[name] = (classes[name] * appears).sum(axis=1) / appears.sum(axis=1)
        gaps = _sums(self.bins, weights * (self.correct - self.confidence), CALIBRATION_BINS)
        return {
            "accuracy": weights @ self.correct / total,
            **averaged,
            "log_loss": weights @ self.losses / total,
            "brier": weights @ self.brier / total,
            "ece": np.abs(gaps).sum(axis=1) / total,
            "by_class": np.stack([classes[name] for name in PER_CLASS], axis=1),
        }


class RegressionFacts:
    """Per-row facts of a regressor's answers: `values` and `targets`, [N] each, in the target's units."""

    def __init__(self, values: np.ndarray, targets: np.ndarray) -> None:
        self.targets = np.asarray(targets, np.float64)
        self.values = np.asarray(values, np.float64).reshape(-1)
        self.rows = len(self.targets)
        self.errors = self.values - self.targets
        # Centred and scaled, so that R² loses no digits where targets are large and close together.
        self._centred = self.targets - self.targets.mean()

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every metric, [R] each, under weights [R,N]."""
        total = weights.sum(axis=1)
        squares = weights @ self.errors**2
        spread = weights @ self._centred**2 - (weights @ self._centred) ** 2 / total
        floor = 1e-12 * float((self._centred**2).sum())
        with np.errstate(invalid="ignore", divide="ignore"):
            r2 = np.where(spread > floor, 1 - squares / spread, np.nan)
        return {"rmse": np.sqrt(squares / total), "mae": weights @ np.abs(self.errors) / total, "r2": r2}


class ForecastFacts:
    """Per-row facts of a forecaster's answers.

    Args:
        values: forecasts [N, steps, columns], or their quantiles [N, steps, columns, levels].
        targets: what came.
        scale: each column's spread among the training steps.
        naive: each column's mean absolute error of the seasonal naive forecast among them.
        levels: of the quantiles.
    """

    def __init__(
        self,
        values: np.ndarray,
        targets: np.ndarray,
        scale: Sequence[float],
        naive: Sequence[float],
        levels: Sequence[float] = (),
    ) -> None:
        self.quantiles: dict[str, np.ndarray] = {}
        if levels:
            wide = np.asarray(values, np.float64)
            errors = (np.asarray(targets, np.float64)[..., None] - wide) / np.asarray(scale, np.float64)[:, None]
            level = np.asarray(levels, np.float64)
            inside = (wide[..., 0] <= targets) & (targets <= wide[..., -1])
            self.quantiles = {
                "pinball": np.maximum(level * errors, (level - 1) * errors).mean(axis=(1, 2, 3)),
                "coverage": inside.mean(axis=(1, 2)),
            }
            values = wide[..., list(levels).index(0.5)]
        self.rows, self.steps = len(targets), targets.shape[1]
        self.errors = np.asarray(values, np.float64) - np.asarray(targets, np.float64)
        scaled = self.errors / np.asarray(scale, np.float64)
        self.squares = np.square(scaled).mean(axis=(1, 2))
        self.absolute = np.abs(scaled).mean(axis=(1, 2))
        self.relative = (np.abs(self.errors).mean(axis=1) / np.asarray(naive, np.float64)).mean(axis=1)
        self.by_step = np.square(scaled).mean(axis=(0, 2))
        self.by_column = np.square(scaled).mean(axis=(0, 1))

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every metric, [R] each, under weights [R,N]."""
        total = weights.sum(axis=1)
        return {
            "mse": weights @ self.squares / total,
            "mae": weights @ self.absolute / total,
            "mase": weights @ self.relative / total,
            **{name: weights @ rows / total for name, rows in self.quantiles.items()},
        }


class LanguageFacts:
    """Per-window facts of a language model's answers.

    Args:
        losses: of every token, in nats [N, tokens].
        targets: the tokens; -1 where none is judged.
        sizes: the bytes of each token of the vocabulary.
    """

    def __init__(self, losses: np.ndarray, targets: np.ndarray, sizes: Sequence[int]) -> None:
        self.rows, judged = len(targets), targets >= 0
        self.tokens = judged.sum(axis=1)
        self.losses = (np.asarray(losses, np.float64) * judged).sum(axis=1)
        self.bytes = (np.asarray(sizes, np.float64)[targets] * judged).sum(axis=1)

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every metric, [R] each, under weights [R,N]."""
        nats = weights @ self.losses
        loss = nats / (weights @ self.tokens)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            bits = nats / np.log(2) / (weights @ self.bytes)
            return {"loss": loss, "perplexity": np.exp(loss), "bits_per_byte": bits}


def token_losses(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of each token in nats, float32 [N, tokens], of scores [N, tokens, vocabulary].

    It is 0 where the target is -1: nothing is judged there.
    """
    top = logits.max(axis=-1, keepdims=True)
    whole = np.log(np.exp((logits - top).astype(np.float32)).sum(axis=-1, dtype=np.float64)) + top[..., 0]
    own = np.take_along_axis(logits, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    return np.where(targets >= 0, np.asarray(whole - own, np.float32), np.float32(0))


def _plain(values: dict[str, np.ndarray], names: tuple[str, ...]) -> dict[str, float]:
    return {name: float(values[name][0]) for name in names}


def classification_metrics(
    probabilities: np.ndarray, targets: np.ndarray, positive: int | None = None
) -> dict[str, float]:
    """Return every metric of `CLASSIFICATION`; see the module for definitions.

    Example:
        >>> classification_metrics(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))["accuracy"]
        1.0
    """
    facts = ClassificationFacts(probabilities, targets, positive)
    once = np.ones((1, facts.rows))
    return _plain(facts.measure(once) | facts.ranking(once), CLASSIFICATION)


def regression_metrics(values: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return every metric of `REGRESSION`; see the module for definitions."""
    facts = RegressionFacts(values, targets)
    return _plain(facts.measure(np.ones((1, facts.rows))), REGRESSION)

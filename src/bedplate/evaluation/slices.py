"""Where is it worse? The leading metric within each class and each value of a column, with the worst named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedplate.evaluation.bootstrap import bootstrap, interval, share_interval
from bedplate.evaluation.comparison import paired_drop

MIN_ROWS = 20
MOST_VALUES = 30
_NO_VALUE = "(missing)"


@dataclass(frozen=True)
class Slice:
    """One slice: the rows where `column` has `value`, and the `metric` there with its interval.

    `worse` says that the whole interval lies on the bad side of the figure for all rows.
    """

    column: str
    value: str
    rows: int
    metric: str
    figure: float
    low: float
    high: float
    worse: bool

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON."""
        return dict(self.__dict__)


def _figure(errors: np.ndarray, rmse: bool, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=1)
    figures: np.ndarray = np.sqrt(weights @ errors**2 / total) if rmse else 1 - weights @ errors / total
    return figures


def slice_figures(
    errors: np.ndarray, columns: Mapping[str, np.ndarray], *, rmse: bool, resamples: int, confidence: float, seed: int,
    min_rows: int = MIN_ROWS, metric: str | None = None,
) -> list[Slice]:  # fmt: skip
    """Return the figure of every slice with at least `min_rows` rows, worst first within a column.

    Args:
        errors: [N]: 1 for a wrong answer and 0 for a right one (the figure is accuracy), or with `rmse` the residuals.
        columns: texts [N] by column; only the 30 commonest values of a column are looked at.
        rmse: whether the figure is RMSE (low is good) rather than accuracy.
        resamples: of each slice's bootstrap; 0 for no intervals.
        confidence: of the intervals.
        seed: of the bootstrap.
        min_rows: smaller slices say too little.
        metric: what the figure is called; None: accuracy or rmse.
    """
    called = metric or ("rmse" if rmse else "accuracy")
    whole = float(_figure(errors, rmse, np.ones((1, len(errors))))[0])
    found = []
    for column, texts in columns.items():
        values, codes, counts = np.unique(np.asarray(texts).astype(str), return_inverse=True, return_counts=True)
        here = []
        for k in np.argsort(-counts, kind="stable")[:MOST_VALUES].tolist():
            if counts[k] < min_rows or counts[k] == len(errors):
                continue
            inside = errors[codes == k]
            figure = float(_figure(inside, rmse, np.ones((1, len(inside))))[0])
            low = high = figure
            if resamples:
                samples = bootstrap(lambda w, e=inside: {"f": _figure(e, rmse, w)}, len(inside), resamples, seed)["f"]  # type: ignore[misc]
                low, high = (float(bound) for bound in interval(samples, confidence))
                if not rmse:
                    low, high = share_interval(float((1 - inside).sum()), len(inside), confidence, (low, high))
            worse = resamples > 0 and (low > whole if rmse else high < whole)
            here.append(Slice(column, str(values[k]) or _NO_VALUE, int(counts[k]), called, figure, low, high, worse))
        found += sorted(here, key=lambda one: -one.figure if rmse else one.figure)
    return found


@dataclass(frozen=True)
class SliceDrop:
    """How much worse the second of two predictions is where `column` has `value`, as `comparison.Drop` counts it."""

    column: str
    value: str
    rows: int
    drop: float
    drop_high: float

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON."""
        return dict(self.__dict__)


def slice_drops(
    before: np.ndarray, after: np.ndarray, targets: np.ndarray, columns: Mapping[str, np.ndarray], *, seed: int = 0,
    min_rows: int = MIN_ROWS,
) -> list[SliceDrop]:  # fmt: skip
    """Return the drop of accuracy (or RMSE) in every slice, the largest first; see `paired_drop`.

    The bounds are of each slice alone: of twenty slices one is expected to exceed its bound by chance.

    Args:
        before: probabilities [N,K] or values [N].
        after: the same, from the other prediction.
        targets: class indices [N] or values [N].
        columns: texts [N] by column; only the 30 commonest values of a column are looked at.
        seed: of the bootstrap (RMSE only).
        min_rows: smaller slices say too little.
    """
    found = []
    for column, texts in columns.items():
        values, codes, counts = np.unique(np.asarray(texts).astype(str), return_inverse=True, return_counts=True)
        for k in np.argsort(-counts, kind="stable")[:MOST_VALUES].tolist():
            if counts[k] < min_rows or counts[k] == len(targets):
                continue
            inside = codes == k
            drop = paired_drop(before[inside], after[inside], targets[inside], resamples=200, seed=seed)
            found.append(SliceDrop(column, str(values[k]) or _NO_VALUE, int(counts[k]), drop.value, drop.high))
    return sorted(found, key=lambda one: -one.drop)


def worst_slice(slices: list[Slice]) -> Slice | None:
    """Return the slice to look at first: the worst figure among those that are clearly worse, else None."""
    clear = [one for one in slices if one.worse]
    return max(clear, key=lambda one: one.figure if one.metric == "rmse" else -one.figure, default=None)

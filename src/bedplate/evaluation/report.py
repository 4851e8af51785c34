"""What an evaluation found, every figure with its interval; it goes to JSON and back, and is compared with another."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bedplate.core.errors import InputError
from bedplate.evaluation.bootstrap import Estimate
from bedplate.evaluation.comparison import Verdict, amount, mcnemar, paired_interval
from bedplate.evaluation.metrics import LOWER_IS_BETTER
from bedplate.evaluation.slices import Slice, worst_slice

_RIGHT_OR_WRONG = ("classification", "embedding")
"""Kinds of reports whose rows are right or wrong."""

_COUNTED = ("multi-label", "tagging")
"""Kinds of reports whose rows have counts: of what is right, found and true."""


FEWEST_COMPARED = 5
"""Test rows; of fewer every draw is nearly the same, and an interval has no width."""


@dataclass(frozen=True)
class Report:
    """What an evaluation found. All but `outputs` survives `to_json`.

    Attributes:
        kind: "classification", "regression", "embedding", "forecast", "language", "multi-label" or "tagging".
        rows: how many rows were judged.
        metrics: every metric that is defined on these rows, by name.
        per_class: `{label, rows, precision, recall, f1}` a class, figures as `{value, low, high}`; [] for regression.
            Of tags it is each type of entity, and `rows` is how many there are.
        confusion: `{labels, counts}`, counts by true class, then by answer; None for regression.
        calibration: the reliability diagram's bins; [] for regression.
        residuals: `{edges, counts, points, quantiles}` of answer minus truth; None for classification. Points are
            [answer, truth] of at most 500 rows.
        slices: the leading metric by class (or by quarter of the target) and by column.
        worst: the worst rows first: `{row, id, expected, answer, confidence}` or `{…, error}`.
        rows_digest: equal for two reports on the same rows.
        row_errors: [N] uint8 (1 = wrong, of vectors the nearest neighbour), float32 residuals, a forecast's root
            mean squared scaled error, a window's mean loss a token, or of tags each sentence's entities (of sets of
            labels each row's labels) that are right, found and true [N,3]; what a comparison row by row needs.
        outputs: the raw output, [N,K], [N], [N, steps, columns] or [N, words, tags], or the loss of every token
            [N, tokens]; None after `from_json`.
        texts: what was written for each row, where texts are answered by texts; None after `from_json`.
        forecast: `{columns, season, by_step, by_column}`, mean squared scaled errors, and `levels`, its quantiles, if
            it has some; None for others.
    """

    kind: str
    rows: int
    confidence: float
    resamples: int
    metrics: dict[str, Estimate]
    per_class: list[dict[str, Any]]
    confusion: dict[str, Any] | None
    calibration: list[dict[str, Any]]
    residuals: dict[str, Any] | None
    slices: list[Slice]
    worst: list[dict[str, Any]]
    rows_digest: str
    row_errors: np.ndarray = field(repr=False)
    outputs: np.ndarray | None = field(default=None, repr=False, compare=False)
    forecast: dict[str, Any] | None = None
    texts: list[str] | None = field(default=None, repr=False, compare=False)

    @property
    def leading(self) -> str:
        """The metric by which reports are compared."""
        known = {
            "regression": "rmse", "forecast": "mse", "tagging": "f1", "multi-label": "f1",
            "embedding": "recall_at_1", "language": "loss",
        }  # fmt: skip
        return known.get(self.kind, "accuracy")

    def metric_against(self, others: Iterable[Report]) -> str:
        """The metric by which this is compared with others: the leading one, where that is the same in all.

        A language model's loss is one of a token, so it says nothing of a model with other tokens. Where not all judged
        the same tokens, the loss over the text's bytes is taken.
        """
        same = all(other.rows_digest == self.rows_digest for other in others)
        return self.leading if self.kind != "language" or same else "bits_per_byte"

    @property
    def worst_slice(self) -> Slice | None:
        """The slice to look at first, where one is clearly worse than the whole."""
        return worst_slice(self.slices)

    def to_json(self) -> dict[str, Any]:
        """Return everything but `outputs` as JSON; row errors are packed (zlib, base64)."""
        packed = np.packbits(self.row_errors) if self.kind in _RIGHT_OR_WRONG else self.row_errors.astype("<f4")
        return {
            "format": 1,
            "kind": self.kind,
            "rows": self.rows,
            "confidence": self.confidence,
            "resamples": self.resamples,
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "per_class": self.per_class,
            "confusion": self.confusion,
            "calibration": self.calibration,
            "residuals": self.residuals,
            "slices": [one.to_json() for one in self.slices],
            "worst": self.worst,
            "rows_digest": self.rows_digest,
            **({"forecast": self.forecast} if self.forecast else {}),
            "row_errors": base64.b64encode(zlib.compress(packed.tobytes(), 9)).decode(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Report:
        """Rebuild from `to_json`, without `outputs`.

        Raises:
            InputError: a field is missing or damaged.
        """
        try:
            packed = zlib.decompress(base64.b64decode(fields["row_errors"], validate=True))
            if fields["kind"] in _RIGHT_OR_WRONG:
                errors = np.unpackbits(np.frombuffer(packed, np.uint8))[: fields["rows"]]
            else:
                errors = np.frombuffer(packed, "<f4").astype(np.float32)
                errors = errors.reshape(-1, 3) if fields["kind"] in _COUNTED else errors
            return cls(
                kind=fields["kind"],
                rows=int(fields["rows"]),
                confidence=float(fields["confidence"]),
                resamples=int(fields["resamples"]),
                metrics={name: Estimate.from_json(one) for name, one in fields["metrics"].items()},
                per_class=list(fields["per_class"]),
                confusion=fields["confusion"],
                calibration=list(fields["calibration"]),
                residuals=fields["residuals"],
                slices=[Slice(**one) for one in fields["slices"]],
                worst=list(fields["worst"]),
                rows_digest=str(fields["rows_digest"]),
                row_errors=errors,
                forecast=fields.get("forecast"),
            )
        except (AttributeError, KeyError, TypeError, ValueError, zlib.error) as error:
            raise InputError("a damaged report", received=repr(error)) from error

    def compare(self, other: Report) -> Verdict:
        """Return whether this report's accuracy (or RMSE, MSE or F1) differs from another's for real.

        On the same rows the comparison is made row by row: McNemar's exact test, or a paired bootstrap of RMSE, of F1,
        or of blocks of a forecast's windows. On other rows the two intervals are combined, which sees less; of a
        language model these are then bits a byte, since the rows may differ in their tokens alone.

        Raises:
            InputError: one is a classifier's and the other a regressor's.
        """
        if self.kind != other.kind:
            raise InputError("reports of two kinds can't be compared", received=f"{self.kind} and {other.kind}")
        metric, rmse = self.metric_against([other]), self.kind == "regression"
        lower = metric in LOWER_IS_BETTER
        mine, yours = self.metrics[metric], other.metrics[metric]
        paired = self.rows_digest == other.rows_digest
        p_value = None
        if paired:
            first, second = (report.row_errors.astype(np.float64) for report in (self, other))
            block = 1
            if self.forecast is not None:
                first, second = first**2, second**2
                block = max(len(self.forecast["by_step"]), int(self.forecast["season"]))
                block = min(block, max(1, len(first) // 5))  # as its own intervals are made
            elif self.kind in _RIGHT_OR_WRONG:
                first, second = 1 - first, 1 - second
            difference, low, high = paired_interval(
                first, second, rmse=rmse, confidence=self.confidence, resamples=max(1000, self.resamples), seed=0,
                block=block,
            )  # fmt: skip
            real = low > 0 or high < 0
            if self.kind in _RIGHT_OR_WRONG:
                p_value = mcnemar(int(((first == 1) & (second == 0)).sum()), int(((first == 0) & (second == 1)).sum()))
                real = p_value < 1 - self.confidence
        else:
            difference = mine.value - yours.value
            low = difference - math.hypot(mine.value - mine.low, yours.high - yours.value)
            high = difference + math.hypot(mine.high - mine.value, yours.value - yours.low)
            real = low > 0 or high < 0
        rows = min(len(self.row_errors), len(other.row_errors))
        real = real and rows >= FEWEST_COMPARED
        better = (difference < 0) == lower
        how = "on the same rows" if paired else "on different rows, so with less certainty"
        if metric != self.leading:
            how = f"on different tokens or texts, so by {metric} and with less certainty"
        text = f"{metric} {mine.value:.4g} against {yours.value:.4g}: " + (
            f"really {'better' if better else 'worse'}, by {amount(difference, low, high)}, {how}"
            if real else f"{rows} test row{'s' if rows > 1 else ''} can't tell which is better, {how}"
            if rows < FEWEST_COMPARED else f"no real difference ({low:+.2g} to {high:+.2g}), {how}"
        )  # fmt: skip
        return Verdict(metric, mine.value, yours.value, difference, low, high, p_value, paired, real, text)

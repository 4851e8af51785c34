"""How faithfully a file in another format answers: against the bundle's own graph, on golden rows and on edge rows.

A format in float32 must pass the parity gate: every number within rtol 1e-3 and atol 1e-4, every label equal. What is
rounded on purpose (float16, int8) is held to its labels on the golden rows, or to the size of its error where the
answer is a number; edge rows, on which no model was trained, are reported beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bedplate.codecs.codec import Codec
from bedplate.core.arrays import Arrays, Predict, count, take
from bedplate.core.errors import GateError
from bedplate.export.parity import ATOL, BATCHES, RTOL, edge_features
from bedplate.models import inputs_from_spec

HUGE = 1e12
"""A number in a table that no training row came near."""


@dataclass(frozen=True)
class Limits:
    """What a format's answers may differ by. `exact` is the parity gate, and makes the others unneeded.

    Attributes:
        agreement: the least share of golden rows that keep their label.
        error: the most that a number's error may be: its root mean square over the golden rows, as a share of the
            answers' deviation.
    """

    exact: bool = True
    agreement: float = 1.0
    error: float = 0.0


@dataclass(frozen=True)
class Difference:
    """What was seen on some rows.

    Attributes:
        rows: how many different ones.
        batches: at which batch sizes they were asked.
        max_difference: the largest difference of a number, over all batches.
        label_agreement: the share of rows with the same label, all asked at once; None where there are no labels.
        relative_error: root mean square of the differences, as a share of the answers' deviation, all asked at once.
        within: whether every number was within the parity gate, and every label equal.
    """

    rows: int
    batches: tuple[int, ...]
    max_difference: float
    label_agreement: float | None
    relative_error: float
    within: bool

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {**asdict(self), "batches": list(self.batches)}


def edge_rows(codec: Codec) -> dict[str, np.ndarray] | None:
    """Return rows at the edges of what a graph may be given, as its raw tensors; None where its ranges aren't known.

    Images: black, white, checkered, random. Tables: missing, zero, and numbers far outside; missing and unknown texts.
    """
    if codec.kind == "image":
        return edge_features(inputs_from_spec(codec.feature_spec()))
    if codec.kind != "table":
        return None
    numbers, texts = np.array([np.nan, 0.0, -HUGE, HUGE]), np.array(["", "0", "never seen", " "], object)
    return {spec.name: texts if spec.dtype == "string" else numbers.astype(spec.dtype) for spec in codec.tensors}


def difference(
    reference: Predict, exported: Predict, rows: Arrays, outputs: Sequence[str], *, labels: bool
) -> Difference:
    """Compare two predictors on rows, all at once and at the batch sizes of the parity gate.

    Args:
        reference: what is right.
        exported: what is judged.
        rows: at least one.
        outputs: which outputs are compared; the worst counts.
        labels: whether they hold one score a class.

    Raises:
        GateError: the answers' shapes differ.
    """
    total = count(rows)
    whole = reference(rows)
    scale = {name: 1.0 if labels else _deviation(np.asarray(whole[name], np.float64)) for name in outputs}
    batches = tuple(dict.fromkeys((*BATCHES, total)))
    largest, error, agreement, within = 0.0, 0.0, 1.0, True
    for batch in batches:
        asked = take(rows, np.arange(batch) % total)
        before, after = reference(asked), exported(asked)
        for name in outputs:
            left, right = np.asarray(before[name], np.float64), np.asarray(after[name], np.float64)
            if left.shape != right.shape:
                raise GateError(
                    "the exported model answers in another shape", where=f"{name}, a batch of {batch}",
                    expected=str(left.shape), received=str(right.shape),
                )  # fmt: skip
            with np.errstate(invalid="ignore"):  # infinity less infinity; it equals itself
                gap = np.where(left == right, 0.0, np.abs(left - right))
            largest = max(largest, float(gap.max()))
            within &= bool(np.all(gap <= ATOL * scale[name] + RTOL * np.abs(left)))
            same = left.argmax(axis=1) == right.argmax(axis=1) if labels else np.ones(batch, bool)
            within &= bool(np.all(same | (gap.reshape(batch, -1).max(axis=1) < ATOL)))
            if batch == total:
                agreement = min(agreement, float(same.mean()))
                error = max(error, float(np.sqrt(np.mean(gap**2))) / _deviation(left))
    return Difference(total, batches, largest, agreement if labels else None, error, within)


def _deviation(answers: np.ndarray) -> float:
    found = float(answers[np.isfinite(answers)].std()) if np.isfinite(answers).any() else 0.0
    return found if found > 0 else 1.0


def check_fidelity(found: Mapping[str, Difference], limits: Limits) -> None:
    """Judge what was seen on the `golden` rows and, if there are any, the `edge` rows.

    Raises:
        GateError: it isn't within the limits; it says which rows, how far, and how far is allowed.
    """
    for name, seen in found.items():
        if limits.exact and not seen.within:
            raise GateError(
                "the exported model does not answer as the bundle does", where=f"{name} rows",
                expected=f"differences within {ATOL:g} + {RTOL:g}·|x| and the same labels",
                received=f"{seen.max_difference:.3g}"
                + ("" if seen.label_agreement is None else f", {seen.label_agreement:.1%} of the labels"),
            )  # fmt: skip
    golden = found["golden"]
    if limits.exact:
        return
    if golden.label_agreement is not None and golden.label_agreement < limits.agreement:
        raise GateError(
            "the exported model gives other labels than the bundle", where="golden rows",
            expected=f"at least {limits.agreement:.1%} of the labels", received=f"{golden.label_agreement:.1%}",
            hint="this model loses too much in this form; export it without --int8, or in another format",
        )  # fmt: skip
    if golden.label_agreement is None and golden.relative_error > limits.error:
        raise GateError(
            "the exported model's numbers are too far from the bundle's", where="golden rows",
            expected=f"an error of at most {limits.error:.1%} of the answers' deviation",
            received=f"{golden.relative_error:.1%}",
            hint="this model loses too much in this form; export it without --int8, or in another format",
        )  # fmt: skip


__all__ = ["Difference", "Limits", "check_fidelity", "difference", "edge_rows"]

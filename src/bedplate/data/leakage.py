"""Find columns that give the target away: copies of it (set aside), and near-perfect predictors (told)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bedplate.codecs.columns import ColumnSchema, tensor_names
from bedplate.core.arrays import Arrays

FEWEST_ROWS = 50
"""With fewer rows a column may match the target by chance."""

_NEAR_ERROR = 0.02
_FEWEST_A_LEAF = 5


@dataclass(frozen=True)
class Leak:
    """A column that gives the target away; `copy` says that it is the target under another name."""

    column: str
    copy: bool
    text: str


def find_leaks(inputs: Arrays, columns: Sequence[ColumnSchema], targets: np.ndarray) -> list[Leak]:
    """Judge each column alone on training rows.

    A copy corresponds one to one with the classes, or is the numeric target up to scale and offset. A near-perfect
    predictor leaves at most 2 % of the majority rule's errors (classes), or correlates above 0.999 (numbers).

    Args:
        inputs: the codec's tensors of the training rows.
        columns: the table's columns.
        targets: int64 class indices or float64 values.
    """
    if len(targets) < FEWEST_ROWS:
        return []
    names = tensor_names(columns)
    leaks = []
    for column in columns:
        if column.type not in {"number", "category"}:
            continue
        values = inputs[names[column.name, ""]]
        judge = _judge_number if targets.dtype.kind == "f" else _judge_class
        leak = judge(column, values, targets)
        if leak is not None:
            leaks.append(leak)
    return leaks


def _judge_class(column: ColumnSchema, values: np.ndarray, targets: np.ndarray) -> Leak | None:
    codes = np.unique(values if column.type == "number" else values.astype(str), return_inverse=True)[1]
    distinct, classes = int(codes.max()) + 1, int(targets.max()) + 1
    present = len(np.unique(targets))
    if distinct == present:
        table = np.zeros((distinct, classes), np.int64)
        np.add.at(table, (codes, targets), 1)
        if ((table > 0).sum(axis=1) == 1).all() and ((table > 0).sum(axis=0) <= 1).all():
            return Leak(
                column.name,
                True,
                f"column '{column.name}' is the target under another name (its values correspond one to one with the "
                "classes): set aside",
            )
    right = _right_by_value(codes, targets) if column.type == "category" else _right_by_tree(values, targets, classes)
    majority = int(np.bincount(targets).max())
    total = len(targets)
    if majority < total and total - right <= _NEAR_ERROR * (total - majority):
        return Leak(
            column.name,
            False,
            f"column '{column.name}' alone predicts {right / total:.2%} of the training rows: is it known before the "
            "target is? If not, set data.columns: {" + column.name + ": {type: ignore}}",
        )
    return None


def _right_by_value(codes: np.ndarray, targets: np.ndarray) -> int:
    """Rows that the commonest class of each value gets right; a value seen a few times proves nothing."""
    pairs, times = np.unique(np.stack([codes, targets]), axis=1, return_counts=True)
    commonest = np.zeros(int(codes.max()) + 1, np.int64)
    np.maximum.at(commonest, pairs[0], times)
    return int(commonest[np.bincount(codes) >= _FEWEST_A_LEAF].sum())


def _right_by_tree(values: np.ndarray, targets: np.ndarray, classes: int) -> int:
    """Rows that a small decision tree on this number alone gets right."""
    from sklearn.tree import DecisionTreeClassifier

    # The tree reads float32: values are ranked, so that no size overflows it.
    ranks = np.unique(values, return_inverse=True)[1].astype(np.float32).reshape(-1, 1)
    tree = DecisionTreeClassifier(max_leaf_nodes=2 * classes, min_samples_leaf=_FEWEST_A_LEAF, random_state=0)
    return int((tree.fit(ranks, targets).predict(ranks) == targets).sum())


def _judge_number(column: ColumnSchema, values: np.ndarray, targets: np.ndarray) -> Leak | None:
    if column.type != "number":
        return None
    known = np.isfinite(values)
    if known.sum() < FEWEST_ROWS or np.ptp(values[known]) == 0 or np.ptp(targets[known]) == 0:
        return None
    if len(np.unique(targets[known])) < 10:
        return None
    correlation = float(abs(np.corrcoef(values[known], targets[known])[0, 1]))
    if correlation > 1 - 1e-9 and known.mean() > 0.9:
        return Leak(
            column.name,
            True,
            f"column '{column.name}' is the target under another name (equal up to scale and offset): set aside",
        )
    if correlation > 0.999:
        return Leak(
            column.name,
            False,
            f"column '{column.name}' correlates {correlation:.5f} with the target: is it known before the target is? "
            "If not, set data.columns: {" + column.name + ": {type: ignore}}",
        )
    return None

"""Choose the golden rows: real ones spread over the classes, or synthetic ones where raw rows must not leave."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bedplate.bundle import Golden
from bedplate.codecs.codec import TensorSpec
from bedplate.core.arrays import Arrays, Predict, count, take
from bedplate.core.seeds import generator


def spread(targets: np.ndarray, rows: int, classes: int | None, seed: int) -> np.ndarray:
    """Return at most `rows` indices, ascending: in turns from each class, or evenly over the sorted values."""
    order = generator(seed, "golden").permutation(len(targets))
    rows = min(rows, len(targets))
    if classes is None:
        targets = targets.reshape(len(targets), -1)[:, -1]  # of a forecast the last number
        by_value = order[np.argsort(targets[order], kind="stable")]
        return np.sort(by_value[np.linspace(0, len(order) - 1, rows).round().astype(int)])
    turn = np.zeros(len(targets), int)
    for label in range(classes):
        members = order[targets[order] == label]
        turn[members] = np.arange(len(members))
    position = np.empty(len(targets), int)
    position[order] = np.arange(len(order))
    return np.sort(np.lexsort((position, turn))[:rows])


def synthetic_inputs(inputs: Arrays, tensors: list[TensorSpec], rows: int, seed: int) -> dict[str, np.ndarray]:
    """Return made-up rows that fit the tensors: each column drawn on its own, so that no real row is repeated.

    Images are smooth random fields, series random walks; numbers are drawn evenly between the 5 % and 95 % quantiles
    and rounded to three digits; texts are drawn from the categories that five rows or more share.
    """
    draw = generator(seed, "synthetic")
    found: dict[str, np.ndarray] = {}
    for spec in tensors:
        column = inputs[spec.name]
        if spec.dtype == "string":
            values, counts = np.unique(column.astype(str), return_counts=True)
            common = values[counts >= 5] if (counts >= 5).any() else np.array([""])
            found[spec.name] = draw.choice(common, rows).astype(object)
        elif spec.dtype == "uint8":
            coarse = draw.integers(0, 256, (rows, 4, 4, spec.shape[-1]))
            y, x = (np.arange(size) * 4 // size for size in spec.shape[:2])
            found[spec.name] = coarse[:, y][:, :, x].astype(np.uint8)
        elif len(spec.shape) == 2:  # a series: a walk of steps as large as the real ones
            parts = column.astype(np.float64)
            start, change = parts[:, 0].mean(axis=0), np.diff(parts, axis=1).std(axis=(0, 1))
            walk = np.cumsum(draw.normal(size=(rows, *spec.shape)) * change, axis=1)
            found[spec.name] = (start + walk - walk.mean(axis=1, keepdims=True)).astype(column.dtype)
        else:
            known = column[np.isfinite(column)]
            low, high = np.quantile(known, [0.05, 0.95]) if len(known) else (0.0, 1.0)
            drawn = draw.uniform(low, high, rows)
            digits = np.where(drawn == 0, 0, 2 - np.floor(np.log10(np.abs(np.where(drawn == 0, 1, drawn)))))
            found[spec.name] = np.array([round(v, int(d)) for v, d in zip(drawn, digits, strict=True)], column.dtype)
    return found


def choose_golden(
    inputs: Arrays,
    targets: np.ndarray,
    tensors: list[TensorSpec],
    predictors: Mapping[str, Predict],
    *,
    classes: int | None,
    rows: int,
    synthetic: bool,
    seed: int,
) -> Golden:
    """Return golden rows with the answers of every variant."""
    if synthetic:
        chosen: Arrays = synthetic_inputs(inputs, tensors, min(rows, count(inputs)), seed)
        return Golden(chosen, {name: predict(chosen) for name, predict in predictors.items()}, None, "synthetic")
    index = spread(targets, rows, classes, seed)
    chosen = take(inputs, index)
    return Golden(chosen, {name: predict(chosen) for name, predict in predictors.items()}, targets[index], "rows")

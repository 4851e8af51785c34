"""Calibration: the range of each tensor of a graph on calibration rows, by minimum and maximum, entropy or percentile.

ONNX Runtime's own entropy starts from 128 bins for 128 levels, so the whole range is its only candidate, and it keeps
every tensor of every row in memory. This one reads the rows twice in batches (extremes, then histograms), so it holds
one batch of activations whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import onnx

from bedplate.bundle.session import OnnxPredict
from bedplate.core.arrays import Arrays, Predict, count, take

Calibration = Literal["minmax", "entropy", "percentile"]

Ranges = Mapping[str, tuple[float, float]]
"""By tensor name: its lowest and highest number."""

BINS, FEWEST_BINS, A_BIN = 2048, 512, 8
"""Bins of a histogram at most and at least, and the numbers that there must be for each. Of fewer numbers a histogram
is full of holes, and its divergence says nothing: such a tensor keeps its extremes."""

LEVELS = 128
"""Levels that 8 bits with a sign have for |x|."""

BATCH = 32


def measure_ranges(
    model: onnx.ModelProto, tensors: list[str], features: Arrays, method: Calibration, *, percentile: float = 99.99
) -> dict[str, tuple[float, float]]:
    """Return the range of each float tensor on these rows.

    Args:
        model: with the types of its tensors inferred.
        tensors: names of inputs, outputs and tensors between.
        features: calibration rows.
        method: `minmax` takes all; `percentile` leaves out (100 − percentile) / 2 % on each side (Wu et al. 2020,
            "Integer Quantization for Deep Learning Inference", section 5); `entropy`: see `entropy_threshold`.
        percentile: 50 to 100.
    """
    if not 50 < percentile <= 100:
        raise ValueError(f"a percentile above 50 and at most 100, received {percentile}")
    seen = _seen(model, tensors)
    found: dict[str, tuple[float, float]] = {}
    sizes: dict[str, int] = {}
    for batch in _batches(features):
        for name, array in seen(batch).items():
            low, high = found.get(name, (np.inf, -np.inf))
            found[name] = min(low, float(array.min())), max(high, float(array.max()))
            sizes[name] = sizes.get(name, 0) + array.size
    bins = {name: min(BINS, size // A_BIN) for name, size in sizes.items() if size >= A_BIN * FEWEST_BINS}
    if method == "minmax" or not bins:
        return found
    edges = {name: _edges(method, *found[name]) for name in bins}
    counts = {name: np.zeros(number, np.int64) for name, number in bins.items()}
    for batch in _batches(features):
        arrays = seen(batch)
        for name in bins:
            values = np.abs(arrays[name]) if method == "entropy" else arrays[name]
            counts[name] += np.histogram(values, bins[name], edges[name])[0]
    for name in bins:
        low, high = found[name]
        if method == "percentile":
            found[name] = percentile_range(counts[name], *edges[name], percentile)
        else:
            limit = entropy_threshold(counts[name], edges[name][1])
            found[name] = max(low, -limit), min(high, limit)
    return found


def _edges(method: Calibration, low: float, high: float) -> tuple[float, float]:
    if method == "entropy":
        low, high = 0.0, max(abs(low), abs(high))
    return (low, high) if high > low else (low, low + 1.0)


def _seen(model: onnx.ModelProto, tensors: list[str]) -> Predict:
    """Return what answers with the named tensors in place of the graph's outputs."""
    graph = model.graph
    known = {value.name: value for value in (*graph.value_info, *graph.output, *graph.input)}
    watching = onnx.ModelProto.FromString(model.SerializeToString())
    del watching.graph.output[:]
    inputs = [name for name in tensors if name in {value.name for value in graph.input}]
    watching.graph.output.extend(known[name] for name in tensors if name not in inputs)
    predict = OnnxPredict(watching.SerializeToString(), variant="calibration") if watching.graph.output else None

    def seen(batch: Arrays) -> dict[str, np.ndarray]:
        found = dict(predict(batch)) if predict is not None else {}
        return {**found, **{name: batch[name] for name in inputs}}

    return seen


def _batches(features: Arrays) -> Iterator[Arrays]:
    for start in range(0, count(features), BATCH):
        yield take(features, slice(start, start + BATCH))


def percentile_range(counts: np.ndarray, low: float, high: float, percentile: float) -> tuple[float, float]:
    """Return the range of a histogram from `low` to `high` without (100 − percentile) / 2 % on each side."""
    left_out = counts.sum() * (100 - percentile) / 200
    width = (high - low) / len(counts)
    first = int(np.searchsorted(np.cumsum(counts), left_out, side="right"))
    last = len(counts) - int(np.searchsorted(np.cumsum(counts[::-1]), left_out, side="right"))
    return low + first * width, (high if last == len(counts) else low + last * width)


def entropy_threshold(counts: np.ndarray, high: float, levels: int = LEVELS) -> float:
    """Return the threshold whose quantised histogram of |x| diverges least from the true one.

    For each number of bins i, P is the first i bins with all that lies beyond in the last of them, and Q the first i
    bins merged into `levels`, each spread evenly over its bins that aren't empty; the i with the least KL(P ‖ Q) wins.
    Migacz 2017, "8-bit Inference with TensorRT". The bin of 0 is left out: a ReLU's zeros are exact anyway and would
    drown the rest.

    Args:
        counts: of |x| in equal bins from 0 to `high`.
        high: the largest |x|.
        levels: positive levels.
    """
    kept = counts.astype(np.float64)
    kept[0] = 0
    if not kept.any():
        return high
    best, found = np.inf, len(kept)
    beyond = kept.sum() - np.cumsum(kept)
    for bins in range(levels, len(kept) + 1):
        inside = kept[:bins]
        truth = inside.copy()
        truth[-1] += beyond[bins - 1]
        groups = np.arange(bins) * levels // bins
        sums = np.bincount(groups, inside, levels)
        full = np.bincount(groups, inside > 0, levels)
        merged = np.where(inside > 0, (sums / np.maximum(full, 1))[groups], 0)
        divergence = _divergence(truth, merged)
        if divergence < best:
            best, found = divergence, bins
    return high * found / len(kept)


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Return KL(p ‖ q) of two histograms; infinite where q has nothing and p has."""
    used = p > 0
    if (q[used] == 0).any():
        return float("inf")
    p, q = p[used] / p.sum(), q[used] / q.sum()
    return float((p * np.log(p / q)).sum())

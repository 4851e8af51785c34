"""What a table's codec learns from training rows: imputation, scaling, categories, as plain numbers and texts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bedplate.codecs.codec import TensorSpec
from bedplate.core.arrays import Arrays

CLIP = 10.0
"""Standardised features are clipped to plus and minus this."""

MOST_CATEGORIES = 256
"""A category column keeps so many of its commonest values; the others are unknown."""

_FEW_VALUES = 32
_MOST_EDGES, _FEWER_EDGES, _MANY_ROWS = 33, 17, 5000
_PERIODS = {"month": 12.0, "weekday": 7.0, "hour": 24.0, "clock": 24.0}


@dataclass(frozen=True)
class Scaled:
    """A numeric feature: `(t - mean) / deviation`; `t` is the value or, for `log` > 0, sign(x)·log(1 + |x| / log)."""

    tensor: str
    fill: float
    log: float
    mean: float
    deviation: float
    edges: tuple[float, ...]


@dataclass(frozen=True)
class Wave:
    """Two numeric features: sine and cosine of a number with a period (month, weekday, hour)."""

    tensor: str
    fill: float
    period: float


@dataclass(frozen=True)
class Known:
    """A category feature: the values that have an index, from 2 on. `codes` says that the tensor holds numbers."""

    tensor: str
    values: tuple[Any, ...]
    codes: bool = False


@dataclass(frozen=True)
class Learned:
    """All that was learnt from the training rows. Features come in this order: scaled, waves, missing; categories."""

    scaled: tuple[Scaled, ...]
    waves: tuple[Wave, ...]
    missing: tuple[str, ...]
    categories: tuple[Known, ...]

    def to_json(self) -> dict[str, Any]:
        """Return this as JSON; numbers survive exactly."""
        return {
            "scaled": [{**asdict(item), "edges": list(item.edges)} for item in self.scaled],
            "waves": [asdict(item) for item in self.waves],
            "missing": list(self.missing),
            "categories": [{**asdict(item), "values": list(item.values)} for item in self.categories],
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Learned:
        """Rebuild from `to_json()`'s fields."""
        return cls(
            tuple(Scaled(**{**item, "edges": tuple(item["edges"])}) for item in fields["scaled"]),
            tuple(Wave(**item) for item in fields["waves"]),
            tuple(fields["missing"]),
            tuple(Known(**{**item, "values": tuple(item["values"])}) for item in fields["categories"]),
        )

    @property
    def numeric(self) -> int:
        """The number of numeric features."""
        return len(self.scaled) + 2 * len(self.waves) + len(self.missing)

    @property
    def edges(self) -> list[list[float]]:
        """Quantile edges in standardised units, a list a numeric feature (empty for waves and indicators)."""
        return [list(item.edges) for item in self.scaled] + [[] for _ in range(self.numeric - len(self.scaled))]


def learn(inputs: Arrays, tensors: Sequence[TensorSpec], parts: Mapping[str, str]) -> Learned:
    """Learn imputation, scaling and categories from training rows.

    Args:
        inputs: the codec's tensors for the training rows.
        tensors: their specs, in the order in which features will lie.
        parts: for tensors that come from dates, which part ("month", …) each one is; "clock" for a time of day.
    """
    scaled: list[Scaled] = []
    waves: list[Wave] = []
    missing: list[str] = []
    categories: list[Known] = []
    for spec in tensors:
        column = inputs[spec.name]
        if spec.dtype == "string":
            categories.append(Known(spec.name, _common(column[column != ""].tolist(), len(column))))
            continue
        part = parts.get(spec.name, "")
        absent = np.isnan(column)
        present = column[~absent]
        if absent.any() and len(present) and part in {"", "days", "clock"}:
            missing.append(spec.name)
        if len(present) == 0 or present.min() == present.max():
            continue
        fill = float(np.median(present))
        scaled.append(_scale(spec.name, np.where(absent, fill, column), fill, heavy=not part))
        if part in _PERIODS:
            waves.append(Wave(spec.name, fill, _PERIODS[part]))
        codes = _codes(np.floor(present) if part in {"hour", "clock"} else present)
        if codes and part != "days":
            categories.append(Known(spec.name, _common(codes, len(column)), codes=True))
    return Learned(tuple(scaled), tuple(waves), tuple(missing), tuple(categories))


def _scale(name: str, values: np.ndarray, fill: float, *, heavy: bool) -> Scaled:
    """Learn the scaling of one feature; heavy-tailed ones go through a signed logarithm first."""
    log = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        if heavy and len(np.unique(values)) > 8:
            magnitudes = np.abs(values[values != 0])
            unit = float(np.median(magnitudes)) if len(magnitudes) else 0.0
            if unit > 0 and math.isfinite(1 / unit):
                logged = np.sign(values) * np.log1p(np.abs(values) / unit)
                if abs(_skewness(values)) > 2 and abs(_skewness(logged)) < 0.6 * abs(_skewness(values)):
                    log, values = unit, logged
        # Very large values would overflow when squared: they are measured in units of the largest.
        largest = float(np.abs(values).max())
        mean = float((values / largest).mean() * largest)
        deviation = float(((values - mean) / largest).std() * largest)
        if not (math.isfinite(mean) and math.isfinite(deviation) and deviation > 0):
            mean, deviation = 0.0, max(largest, np.finfo(np.float64).tiny)
        standard = np.clip((values - mean) / deviation, -CLIP, CLIP)
    return Scaled(name, fill, log, mean, deviation, quantile_edges(standard))


def quantile_edges(values: np.ndarray) -> tuple[float, ...]:
    """Return rising edges that cut `values` [N] into bins of about equal numbers; () where two values or fewer differ.

    A value that many rows share (no capital gain, say) swallows quantiles; those are spent on the other rows instead.
    """
    most = _MOST_EDGES if len(values) >= _MANY_ROWS else _FEWER_EDGES
    edges = np.unique(np.quantile(values, np.linspace(0, 1, most)).astype(np.float32))
    distinct, counts = np.unique(values, return_counts=True)
    rest = values[np.isin(values, distinct[counts < len(values) / most])]
    if len(edges) < most and len(rest):
        spent = np.quantile(rest, np.linspace(0, 1, most - len(edges) + 2)).astype(np.float32)
        edges = np.unique(np.concatenate([edges, spent]))
    return tuple(float(edge) for edge in edges) if len(edges) > 2 else ()


def _skewness(values: np.ndarray) -> float:
    spread = values.std()
    if not np.isfinite(spread) or spread == 0:
        return 0.0
    return float((((values - values.mean()) / spread) ** 3).mean())


def _codes(present: np.ndarray) -> list[int]:
    """Return the values as integers where they are few and whole (a number that may be a code), else nothing."""
    distinct = np.unique(present)
    whole = np.array_equal(distinct, np.floor(distinct)) and np.abs(distinct).max() < 2**31
    if not whole or not 3 <= len(distinct) <= _FEW_VALUES or len(present) < 20 * len(distinct):
        return []
    return [int(value) for value in present.tolist()]


def _common(values: list[Any], rows: int) -> tuple[Any, ...]:
    """Return the values with an index of their own, commonest first.

    Rare ones are left out, so that index 0 (unknown) occurs in training and its embedding is learnt.
    """
    counts = Counter(values)
    fewest = min(5, max(2, rows // 4000))
    kept = [value for value, times in counts.items() if times >= fewest]
    return tuple(sorted(kept, key=lambda value: (-counts[value], value))[:MOST_CATEGORIES])

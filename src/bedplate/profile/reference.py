"""The reference: what held-out rows looked like, and how far a window of honest rows strays from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedplate.core.arrays import Arrays, count, take
from bedplate.core.errors import BundleError, DataError
from bedplate.core.seeds import generator
from bedplate.profile.calibrate import BODY_SHARE, allowed_outside, body_thresholds
from bedplate.profile.features import watch
from bedplate.profile.sketch import Bins, CategoryBins, NumberBins, Sketch, category_bins, number_bins, sketch_rows

FORMAT = 1
WINDOWS = (50, 100, 200, 500, 1000, 2000, 5000)
MOST_ROWS = 10_000
MOST_CELLS = 20_000_000


def fit_reference(
    inputs: Arrays,
    outputs: Arrays | None,
    *,
    output: str | None = None,
    window: int = 500,
    false_alarm_rate: float = 0.01,
    seed: int = 0,
    labels: Sequence[str] | None = None,
    windows: Sequence[int] = WINDOWS,
) -> dict[str, Any]:
    """Return the drift reference of held-out rows as JSON: histograms and thresholds, and no row of the data.

    Args:
        inputs: tensors at the graph's boundary of rows that the model wasn't trained on (there it is less sure).
        outputs: the default variant's outputs for the same rows, or None to watch inputs only.
        output: the name of the output to watch (`probabilities` or `value`); None takes it from `outputs`.
        window: the rows of one drift window.
        false_alarm_rate: the chance of any alarm in one window of rows like these.
        seed: for the draws of the calibration and of at most 10,000 rows.
        labels: the names of the classes, or of a series' columns.
        windows: further window sizes to calibrate for; the smallest is the least that can be compared.

    Raises:
        DataError: fewer than two rows.
    """
    rows = count(inputs)
    if rows < 2:
        raise DataError("a drift reference needs held-out rows", expected="at least 2", received=str(rows))
    rng = generator(seed, "drift-reference")
    if rows > MOST_ROWS:
        kept = np.sort(rng.choice(rows, MOST_ROWS, replace=False))
        inputs, outputs, rows = take(inputs, kept), None if outputs is None else take(outputs, kept), MOST_ROWS
    if outputs is not None and output is not None:
        outputs = {output: outputs[output]}
    watched = watch(inputs, outputs, labels)
    bins: dict[str, Bins] = {
        name: category_bins(values) if values.dtype.kind in "OU" else number_bins(values)
        for name, values in watched.items()
    }
    calibrated = sorted({*windows, window})
    cells = np.stack([bins[name].place(watched[name]) for name in bins], axis=1)
    sizes = [bins[name].size for name in bins]
    used = cells[: max(500, min(rows, MOST_CELLS // sum(sizes)))]
    thresholds = body_thresholds(used, sizes, calibrated, BODY_SHARE * false_alarm_rate, rng)
    each = (1 - BODY_SHARE) * false_alarm_rate / len(bins)
    features = {}
    for k, (name, sketch) in enumerate(sketch_rows(bins, watched).items()):
        extremes = _extremes(bins[name], watched[name])
        features[name] = {
            **_bins_json(bins[name]),
            "sketch": sketch.to_json(),
            "thresholds": [round(value, 6) for value in thresholds[:, k].tolist()],
            "outside": [allowed_outside(size, rows, extremes, each) for size in calibrated],
        }
    return {
        "format": FORMAT,
        "rows": rows,
        "window": window,
        "false_alarm_rate": false_alarm_rate,
        "windows": calibrated,
        "labels": None if labels is None else list(labels),
        "features": features,
    }


def _extremes(bins: Bins, values: np.ndarray) -> int:
    if isinstance(bins, NumberBins):
        return 2
    _, counts = np.unique(values.astype(str), return_counts=True)
    return int((counts == 1).sum()) + 1


def _bins_json(bins: Bins) -> dict[str, Any]:
    if isinstance(bins, CategoryBins):
        known = None if bins.known is None else sorted(bins.known - set(bins.values))
        return {"kind": "category", "values": list(bins.values), "rare": known}
    bounded = np.isfinite(bins.low)
    return {
        "kind": "number",
        "edges": list(bins.edges),
        "low": bins.low if bounded else None,
        "high": bins.high if bounded else None,
    }


@dataclass(frozen=True)
class Feature:
    """One watched feature of a reference; thresholds are in the order of `Reference.windows`."""

    bins: Bins
    sketch: Sketch
    thresholds: tuple[float, ...]
    outside: tuple[int, ...]


@dataclass(frozen=True)
class Reference:
    """A drift reference read from a bundle's JSON."""

    rows: int
    window: int
    windows: tuple[int, ...]
    false_alarm_rate: float
    labels: tuple[str, ...] | None
    features: Mapping[str, Feature]

    @property
    def bins(self) -> dict[str, Bins]:
        """The bins of every feature, to sketch rows with."""
        return {name: feature.bins for name, feature in self.features.items()}

    def sketch(self, inputs: Arrays, outputs: Arrays | None) -> dict[str, Sketch]:
        """Return the sketches of some rows; features that the rows don't have are left out."""
        return sketch_rows(self.bins, watch(inputs, outputs, self.labels))

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str = "reference.json") -> Reference:
        """Rebuild from `fit_reference()`'s JSON. Raises BundleError where it isn't one, or is of a newer format."""
        if not value.get("features"):
            raise BundleError("this bundle holds no drift reference", where=where)
        if value.get("format") != FORMAT:
            raise BundleError("unknown format", where=where, expected=str(FORMAT), received=repr(value.get("format")))
        try:
            labels = value["labels"]
            features = {name: _feature(entry) for name, entry in value["features"].items()}
            return cls(
                rows=int(value["rows"]),
                window=int(value["window"]),
                windows=tuple(map(int, value["windows"])),
                false_alarm_rate=float(value["false_alarm_rate"]),
                labels=None if labels is None else tuple(labels),
                features=features,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError("the drift reference is damaged", where=where, received=repr(error)) from error


def _feature(entry: Mapping[str, Any]) -> Feature:
    bins: Bins
    if entry["kind"] == "category":
        values = tuple(map(str, entry["values"]))
        bins = CategoryBins(values, None if entry["rare"] is None else frozenset(entry["rare"]) | set(values))
    else:
        low, high = entry["low"], entry["high"]
        bins = NumberBins(
            tuple(map(float, entry["edges"])), -np.inf if low is None else low, np.inf if high is None else high
        )
    return Feature(
        bins, Sketch.from_json(entry["sketch"], bins), tuple(map(float, entry["thresholds"])),
        tuple(map(int, entry["outside"])),
    )  # fmt: skip

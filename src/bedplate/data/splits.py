"""Leak-free, deterministic splits: rows with equal inputs never lie on both sides of a border.

Every row has a key (a digest of its inputs). Rows with equal keys, and rows of one group, form a unit; units are what
is divided. Official splits are kept as published; their overlap is only counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bedplate.core.errors import DataError, listing
from bedplate.core.hashing import fingerprint, sha256_bytes
from bedplate.core.seeds import generator
from bedplate.recipe.schema import SplitSpec

FEWEST_ROWS = 10
"""Fewer rows than this can't be divided into three parts that mean anything."""

_REGRESSION_BINS = 10
_TRAIN, _VALIDATION, _TEST, _DROPPED = 0, 1, 2, 3


@dataclass(frozen=True)
class Split:
    """Row indices (int64, ascending) of each split; `dropped` are rows left out of all of them, `notes` say why."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    dropped: np.ndarray
    notes: tuple[str, ...] = ()


def split_rows(
    keys: Sequence[str],
    labels: np.ndarray | None,
    spec: SplitSpec,
    seed: int,
    *,
    groups: Sequence[str] | None = None,
    times: np.ndarray | None = None,
) -> Split:
    """Divide rows into train, validation and test as `spec` says.

    Args:
        keys: one digest a row over its inputs; equal keys stay together.
        labels: class labels (strings or integers) or float targets, for stratification; None for none.
        spec: the fractions, and how to divide.
        seed: the recipe's seed.
        groups: one group name a row; needed for `by: group`.
        times: one float a row, rising with time; needed for `by: time`. The latest rows become the test split.

    Raises:
        DataError: too few rows, or too few distinct ones, for three splits.
    """
    _check_size(keys, spec)
    fractions = (spec.validation, spec.test)
    if spec.by == "time":
        if times is None:
            raise DataError(
                "a split by time needs a time column", where="data.split.column", expected="a column's name"
            )
        assigned = _divide_by_time(keys, np.asarray(times, np.float64), fractions)
    else:
        if spec.by == "group" and groups is None:
            raise DataError(
                "a split by group needs a group column", where="data.split.column", expected="a column's name"
            )
        units = units_of(keys, groups if spec.by == "group" else None)
        strata = strata_of(labels, units, spec.stratify)
        assigned = _divide(units, strata, fractions, generator(seed, "split"))
    parts = [np.flatnonzero(assigned == part) for part in (_TRAIN, _VALIDATION, _TEST, _DROPPED)]
    for name, part in zip(("train", "validation", "test"), parts, strict=False):
        if len(part) == 0:
            raise DataError(
                f"nothing is left for the {name} split",
                where="data.split",
                expected="at least three distinct rows (three groups, or three moments in time)",
                received=f"{len(keys)} rows, {len(set(keys))} with distinct inputs",
                hint="give more rows, or other fractions in data.split",
            )
    notes = [] if labels is None else class_notes(labels, *parts[:3])
    if len(parts[3]):
        notes.append(
            f"left out: {len(parts[3])} later row{'s' if len(parts[3]) > 1 else ''} with the inputs of an earlier one, "
            "so that no row lies on both sides of the split in time"
        )
    return Split(parts[0], parts[1], parts[2], parts[3], tuple(notes))


def carve_validation(
    keys: Sequence[str],
    labels: np.ndarray | None,
    spec: SplitSpec,
    seed: int,
    *,
    groups: Sequence[str] | None = None,
    times: np.ndarray | None = None,
    fraction: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (train, validation) indices into an official training split that has no validation split of its own.

    `fraction` defaults to `spec.validation`. Equal keys stay together; by time, the latest rows go.
    """
    share = spec.validation if fraction is None else fraction
    if len(keys) < 2 or len(set(keys)) < 2:
        raise DataError(
            "too few rows to set some aside for validation",
            expected="at least 2 distinct rows",
            received=f"{len(keys)} rows, {len(set(keys))} with distinct inputs",
        )
    if spec.by == "time" and times is not None:
        assigned = _divide_by_time(keys, np.asarray(times, np.float64), (share, 0.0))
    else:
        units = units_of(keys, groups if spec.by == "group" else None)
        strata = strata_of(labels, units, spec.stratify)
        assigned = _divide(units, strata, (share, 0.0), generator(seed, "split", "validation"))
    return np.flatnonzero(assigned == _TRAIN), np.flatnonzero(assigned == _VALIDATION)


def overlap(keys: Sequence[str], others: Sequence[str]) -> int:
    """Return how many of `others` have the same inputs as some row of `keys` (test rows that also lie in training)."""
    known = set(keys)
    return sum(key in known for key in others)


def overlaps(train: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> dict[str, int]:
    """Return the three overlaps, named for the report."""
    return {
        "validation_in_train": overlap(train, validation),
        "test_in_train": overlap(train, test),
        "test_in_validation": overlap(validation, test),
    }


def duplicates(keys: Sequence[str]) -> int:
    """Return how many rows repeat the inputs of an earlier one."""
    return len(keys) - len(set(keys))


def split_fingerprint(train: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> str:
    """Return the hex SHA-256 of which rows (by key, in order) lie in which split."""
    return fingerprint(
        {
            name: sha256_bytes("\n".join(keys).encode())
            for name, keys in (("train", train), ("validation", validation), ("test", test))
        }
    )


def limit_rows(labels: np.ndarray | None, limit: int | None, seed: int, *, rows: int | None = None) -> np.ndarray:
    """Return the ascending indices of at most `limit` rows, every class in its share (and at least one row of each).

    Without `labels` (or with float targets) rows are drawn evenly; `rows` is then their number.
    """
    total = len(labels) if labels is not None else int(rows or 0)
    if limit is None or total <= limit:
        return np.arange(total)
    order = generator(seed, "limit").permutation(total)
    if labels is None or np.asarray(labels).dtype.kind == "f":
        return np.sort(order[:limit])
    _, codes, sizes = np.unique(np.asarray(labels).astype(str), return_inverse=True, return_counts=True)
    # A row's place within its class, as a share of the class: the `limit` smallest are each class's share.
    place = np.empty(total)
    seen: Counter[int] = Counter()
    for row in order.tolist():
        code = int(codes[row])
        place[row] = seen[code] / sizes[code]
        seen[code] += 1
    return np.sort(order[np.argsort(place[order], kind="stable")][:limit])


def check_rows(rows: int, where: str | None = None) -> None:
    """Raise a DataError where there are too few rows to learn from and to test on."""
    if rows < FEWEST_ROWS:
        raise DataError(
            "too few rows to learn from and to test on",
            where=where,
            expected=f"at least {FEWEST_ROWS} rows",
            received=f"{rows} row{'' if rows == 1 else 's'}",
            hint="give more data",
        )


def _check_size(keys: Sequence[str], spec: SplitSpec) -> None:
    if spec.validation + spec.test >= 1:
        raise DataError(
            "validation and test leave nothing to train on",
            where="data.split",
            expected="validation + test below 1",
            received=f"{spec.validation} + {spec.test}",
        )
    check_rows(len(keys))


def units_of(keys: Sequence[str], groups: Sequence[str] | None) -> np.ndarray:
    """Return one unit number a row: rows joined, directly or through others, by an equal key or an equal group."""
    key_codes = np.unique(np.asarray(keys, dtype=str), return_inverse=True)[1]
    if groups is None:
        return key_codes
    group_codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    unit = np.arange(len(key_codes))
    while True:
        before = unit
        for codes in (key_codes, group_codes):
            least = np.full(codes.max() + 1, len(unit))
            np.minimum.at(least, codes, unit)
            unit = least[codes]
        if np.array_equal(before, unit):
            return np.unique(unit, return_inverse=True)[1]


def strata_of(labels: np.ndarray | None, units: np.ndarray, stratify: bool) -> np.ndarray:
    """Return one stratum a unit: its commonest class, or the bin of its mean target."""
    count = int(units.max()) + 1
    if labels is None or not stratify:
        return np.zeros(count, np.int64)
    values = np.asarray(labels)
    if values.dtype.kind == "f":
        means = np.bincount(units, weights=values, minlength=count) / np.bincount(units, minlength=count)
        bins = max(1, min(_REGRESSION_BINS, count // 10))
        edges = np.unique(np.quantile(means, np.linspace(0, 1, bins + 1)[1:-1]))
        return np.asarray(np.searchsorted(edges, means, side="right"))
    codes = np.unique(values.astype(str), return_inverse=True)[1]
    pairs, sizes = np.unique(np.stack([units, codes]), axis=1, return_counts=True)
    strata = np.zeros(count, np.int64)
    order = np.argsort(sizes, kind="stable")  # the commonest class of a unit is written last, and stays
    strata[pairs[0][order]] = pairs[1][order]
    return strata


def _divide(
    units: np.ndarray, strata: np.ndarray, fractions: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Return each row's split: within each stratum, shuffled units fill test, then validation; the rest is training."""
    sizes = np.bincount(units)
    assigned = np.full(len(sizes), _TRAIN)
    carry = {_VALIDATION: 0.0, _TEST: 0.0}
    wanted = {part: share for part, share in ((_TEST, fractions[1]), (_VALIDATION, fractions[0])) if share > 0}
    for stratum in np.unique(strata).tolist():
        members = rng.permutation(np.flatnonzero(strata == stratum)).tolist()
        rows = int(sizes[members].sum())
        left = list(members)
        for part, share in wanted.items():
            ideal = share * rows + carry[part]
            quota = max(0, round(ideal))
            if len(members) > len(wanted):  # a class with enough distinct rows appears in every split
                quota = max(1, quota)
            chosen: list[int] = []
            taken = 0
            for unit in left:
                if taken >= quota or len(left) - len(chosen) <= 1:
                    break
                if 2 * (quota - taken) >= sizes[unit]:
                    chosen.append(unit)
                    taken += int(sizes[unit])
            assigned[chosen] = part
            left = [unit for unit in left if assigned[unit] == _TRAIN]
            # What one stratum could not give, the next makes up for; never by more than one unit.
            most = float(sizes[members].max())
            carry[part] = min(max(ideal - taken, -most), most)
    _fill_empty(assigned, sizes, wanted)
    return np.asarray(assigned[units])


def _fill_empty(assigned: np.ndarray, sizes: np.ndarray, wanted: dict[int, float]) -> None:
    """Give a split that got nothing the smallest training unit, while training keeps at least one."""
    for part in wanted:
        training = np.flatnonzero(assigned == _TRAIN)
        if not (assigned == part).any() and len(training) > 1:
            assigned[training[np.argmin(sizes[training])]] = part


def _divide_by_time(keys: Sequence[str], times: np.ndarray, fractions: tuple[float, float]) -> np.ndarray:
    """Return each row's split: the earliest rows train, the latest test; rows of one moment stay together."""
    if not np.isfinite(times).all():
        raise DataError(
            "the split by time needs a time in every row",
            where="data.split.column",
            received=f"{int((~np.isfinite(times)).sum())} rows without one",
        )
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    total = len(times)

    def border(share: float) -> int:
        """The first place at or after `share` of the rows where time moves on (before it, when nothing follows)."""
        wish = min(max(round(total * share), 1), total - 1)
        moment = ordered[wish]
        start = int(np.searchsorted(ordered, moment, side="left"))
        end = int(np.searchsorted(ordered, moment, side="right"))
        return start if wish - start <= end - wish or end == total else end

    assigned = np.full(total, _TRAIN)
    assigned[order[border(1 - sum(fractions)) :]] = _VALIDATION
    if fractions[1] > 0:
        assigned[order[border(1 - fractions[1]) :]] = _TEST
    first: dict[str, int] = {}
    for row in order.tolist():
        if first.setdefault(keys[row], int(assigned[row])) != assigned[row]:
            assigned[row] = _DROPPED
    return assigned


def class_notes(labels: np.ndarray, train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> list[str]:
    """Return a sentence for classes that some split lacks."""
    values = np.asarray(labels)
    if values.dtype.kind == "f":
        return []
    classes, sizes = np.unique(values, return_counts=True)
    by_absence: dict[str, list[tuple[str, int]]] = {}
    for label, size in zip(classes.tolist(), sizes.tolist(), strict=True):
        absent = [
            name
            for name, part in (("training", train), ("validation", validation), ("test", test))
            if not (values[part] == label).any()
        ]
        if absent:
            by_absence.setdefault(" or ".join(absent), []).append((str(label), size))
    notes = []
    for absent_from, rare in by_absence.items():
        if len(rare) == 1:
            label, size = rare[0]
            has = f"class '{label}' has only {size} row{'' if size == 1 else 's'}: it does"
        else:
            has = f"{len(rare)} classes have too few rows ({listing((label for label, _ in rare), 8)}): they do"
        notes.append(f"{has} not appear in {absent_from}")
    return notes

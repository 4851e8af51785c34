"""Folds for cross-validation, as free of leaks as the plain split: one fold is judged, the others train.

Stratified by class (or by the target's size), with equal inputs and whole groups on one side of every border. By time,
folds are later and later stretches, each judged by a model that saw only what came before it (a rolling origin).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bedplate.core.errors import DataError
from bedplate.core.seeds import generator
from bedplate.data.splits import Split, carve_validation, check_rows, class_notes, strata_of, units_of
from bedplate.recipe.schema import SplitSpec


def fold_rows(
    keys: Sequence[str],
    labels: np.ndarray | None,
    spec: SplitSpec,
    seed: int,
    *,
    groups: Sequence[str] | None = None,
    times: np.ndarray | None = None,
) -> Split:
    """Divide rows for fold `spec.fold` of `spec.folds`: that fold is the test split, the rest trains and validates.

    Every row is judged in exactly one fold; by time, the earliest stretch in none. The validation rows are taken from
    the rest as `carve_validation` does (by time: its latest rows).

    Args:
        keys: one digest a row over its inputs; equal keys stay together.
        labels: class labels (strings or integers) or float targets, for stratification; None for none.
        spec: how to divide; `folds` and `fold` are set.
        seed: of the division; the same for all folds that belong together.
        groups: one group name a row; needed for `by: group`.
        times: one float a row, rising with time; needed for `by: time`.

    Raises:
        DataError: too few rows, groups or moments for so many folds.
    """
    assert spec.folds is not None
    assert spec.fold is not None
    check_rows(len(keys))
    if (spec.by == "time" and times is None) or (spec.by == "group" and groups is None):
        raise DataError(f"folds by {spec.by} need a column", where="data.split.column", expected="a column's name")
    dropped = np.zeros(0, np.int64)
    if spec.by == "time":
        rest, test, dropped = _later(keys, np.asarray(times, np.float64), spec.folds, spec.fold)
    else:
        fold_of = _assign(keys, labels, spec, seed, groups)
        rest, test = np.flatnonzero(fold_of != spec.fold), np.flatnonzero(fold_of == spec.fold)

    def chosen(values: Sequence[str] | None) -> list[str] | None:
        return None if values is None else [values[i] for i in rest.tolist()]

    train, validation = carve_validation(
        chosen(keys) or [], None if labels is None else np.asarray(labels)[rest], spec, seed,
        groups=chosen(groups), times=None if times is None else np.asarray(times)[rest],
    )  # fmt: skip
    train, validation = rest[train], rest[validation]
    dropped = np.union1d(dropped, np.setdiff1d(rest, np.concatenate([train, validation]))).astype(np.int64)
    for name, part in (("training", train), ("validation", validation), ("judging", test)):
        if len(part) == 0:
            raise DataError(
                f"fold {spec.fold + 1} leaves no rows for {name}", where="data.split.folds",
                received=f"{len(keys)} rows in {spec.folds} folds", hint="ask for fewer folds, or give more rows",
            )  # fmt: skip
    notes = [f"fold {spec.fold + 1} of {spec.folds}: it is judged, the other folds train"]
    if spec.by == "time":
        notes = [f"fold {spec.fold + 1} of {spec.folds}: judged on what came after all that it was trained on"]
    if labels is not None:
        notes += class_notes(np.asarray(labels), train, validation, test)
    return Split(train, validation, test, dropped, tuple(notes))


def _too_few(folds: int, what: str, received: str) -> DataError:
    return DataError(
        "too few for so many folds", where="data.split.folds", expected=f"at least {folds} {what}", received=received,
        hint="ask for fewer folds",
    )  # fmt: skip


def _assign(
    keys: Sequence[str], labels: np.ndarray | None, spec: SplitSpec, seed: int, groups: Sequence[str] | None
) -> np.ndarray:
    """Return each row's fold: within each stratum, shuffled units go to the fold that has fewest of its rows."""
    folds = spec.folds or 0
    units = units_of(keys, groups if spec.by == "group" else None)
    sizes = np.bincount(units)
    if len(sizes) < folds:
        what = "groups" if spec.by == "group" else "distinct rows"
        raise _too_few(folds, what, f"{len(sizes)}")
    strata = strata_of(labels, units, spec.stratify)
    rng = generator(seed, "folds")
    total = np.zeros(folds)
    chosen = np.zeros(len(sizes), np.int64)
    rare_first = sorted(np.unique(strata).tolist(), key=lambda s: (int((strata == s).sum()), s))
    for stratum in rare_first:
        members = rng.permutation(np.flatnonzero(strata == stratum))
        members = members[np.argsort(-sizes[members], kind="stable")]  # large units first: small ones level them out
        own = np.zeros(folds)
        for unit in members.tolist():
            fold = int(np.lexsort((total, own))[0])
            chosen[unit] = fold
            own[fold] += sizes[unit]
            total[fold] += sizes[unit]
    if np.bincount(chosen, minlength=folds).min() == 0:
        raise _too_few(folds, "distinct rows", f"{len(sizes)}")
    return np.asarray(chosen[units])


def _later(keys: Sequence[str], times: np.ndarray, folds: int, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (rows before, the fold's rows, rows left out) of a rolling origin; rows of one moment stay together."""
    if not np.isfinite(times).all():
        raise DataError(
            "folds by time need a time in every row", where="data.split.column",
            received=f"{int((~np.isfinite(times)).sum())} rows without one",
        )  # fmt: skip
    ordered = np.sort(times)
    moments, counts = np.unique(ordered, return_counts=True)
    if len(moments) < folds + 1:
        raise _too_few(folds, f"moments in time and one before them ({folds + 1})", f"{len(moments)}")
    # A moment's stretch is that of its middle row; each stretch keeps at least one moment.
    middle = np.cumsum(counts) - counts / 2
    stretch = np.minimum((middle * (folds + 1) / len(times)).astype(np.int64), folds)
    for k in range(len(moments)):
        least = stretch[k - 1] if k else 0
        most = min(least + 1 if k else 0, folds)
        stretch[k] = min(max(stretch[k], least, folds - (len(moments) - 1 - k)), most)
    of_row = stretch[np.searchsorted(moments, times)]
    before, test = np.flatnonzero(of_row <= fold), np.flatnonzero(of_row == fold + 1)
    known = {keys[i] for i in before.tolist()}
    seen = np.asarray([keys[i] in known for i in test.tolist()], bool)
    return before, test[~seen], np.sort(np.concatenate([test[seen], np.flatnonzero(of_row > fold + 1)]))

"""Rows by class that may come with official splits: check their classes, and divide what is not divided yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bedplate.codecs.files import natural
from bedplate.core.errors import DataError, listing
from bedplate.data.folds import fold_rows
from bedplate.data.splits import carve_validation, split_rows
from bedplate.data.tables import counted
from bedplate.data.targets import positive_index
from bedplate.recipe.schema import DataSpec, SplitSpec


def check_labels(labels: np.ndarray, splits: np.ndarray | None, where: str, noun: str) -> None:
    """Raise DataError unless the training rows have two classes, and all that the other splits have.

    Args:
        labels: object `str` [N].
        splits: "train", "validation" or "test" [N], or None where nothing is divided.
        where: the data's name.
        noun: what rows are called, in the plural.
    """
    train = labels if splits is None else labels[splits == "train"]
    if len(train) == 0:
        raise DataError(f"no training {noun}", where=where, expected=f"{noun} in the folder train")
    known = sorted(set(train.tolist()), key=natural)
    if len(known) < 2:
        raise DataError(
            "only one class: there is nothing to tell apart",
            where=where,
            expected=f"{noun} of at least 2 classes",
            received=f"{len(train)} {noun if len(train) > 1 else noun[:-1]} of '{known[0]}'",
            hint=f"add a folder with {noun} of another class",
        )
    unknown = sorted(set(labels.tolist()) - set(known), key=natural)
    if unknown:
        raise DataError(
            "classes that the training split lacks",
            where=where,
            expected=f"only {listing(known)}",
            received=listing(unknown),
            hint=f"give them training {noun}, or remove them from the other splits",
        )


def divide(
    keys: np.ndarray, labels: np.ndarray, splits: np.ndarray | None, spec: SplitSpec, seed: int, noun: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the row indices of each split, and notes on how they came about; official splits stay as they are.

    Args:
        keys: one digest a row over its inputs; equal rows stay together.
        labels: object `str` [N].
        splits: "train", "validation" or "test" [N], or None where nothing is divided.
        spec: how the rest is divided.
        seed: of that.
        noun: what rows are called, in the plural.
    """
    if splits is None or (splits == "train").all():
        split = (split_rows if spec.folds is None else fold_rows)(keys.tolist(), labels, spec, seed)
        return {"train": split.train, "validation": split.validation, "test": split.test}, list(split.notes)
    parts = {name: np.flatnonzero(splits == name) for name in ("train", "validation", "test")}
    if spec.folds is not None:
        own = parts["train"]
        split = fold_rows(keys[own].tolist(), labels[own], spec, seed)
        untouched = f"the folds are of the official training {noun}; the other official splits stay untouched"
        found = {"train": own[split.train], "validation": own[split.validation], "test": own[split.test]}
        return found, [*split.notes, f"cross-validation: {untouched}"]
    notes = []
    for name, share in (("test", spec.test), ("validation", spec.validation)):
        if len(parts[name]):
            continue
        own = parts["train"]
        left, carved = carve_validation(keys[own].tolist(), labels[own], spec, seed, fraction=share)
        parts["train"], parts[name] = own[left], own[carved]
        notes.append(f"no official {name} split: {len(carved)} of {len(own)} training {noun} were set aside for it")
    return parts, notes


def balance(targets: np.ndarray, labels: Sequence[str]) -> dict[str, int]:
    """Return how many rows each class has."""
    return dict(zip(labels, np.bincount(targets, minlength=len(labels)).tolist(), strict=True))


def positive(labels: tuple[str, ...], targets: np.ndarray, wanted: str | None) -> int | None:
    """Return the index of the positive label of two, as `positive_index` chooses it for tables.

    Args:
        labels: the classes.
        targets: the training rows' class indices [N].
        wanted: the recipe's.
    """
    counts = np.bincount(targets, minlength=len(labels)).tolist()
    return positive_index(labels, dict(zip(labels, counts, strict=True)), wanted)


def told_positive(labels: tuple[str, ...], targets: np.ndarray, index: int | None) -> list[str]:
    """Return a note on which class figures such as F1 speak of, where one of two is rare."""
    if index is None:
        return []
    share = float((targets == index).mean())
    if 0.1 <= share <= 0.9:
        return []
    return [
        f"{share:.1%} of the training rows are '{labels[index]}', of which precision, recall and F1 speak "
        "(data.positive chooses another)"
    ]


def torn_labels(keys: np.ndarray, labels: np.ndarray, ids: Sequence[str], noun: str) -> list[str]:
    """Return a note on rows that are equal and have different labels, where there are any."""
    labels_of: dict[str, set[str]] = {}
    for key, label in zip(keys.tolist(), labels.tolist(), strict=True):
        labels_of.setdefault(key, set()).add(label)
    torn = {key for key, found in labels_of.items() if len(found) > 1}
    if not torn:
        return []
    examples = [one for one, key in zip(ids, keys.tolist(), strict=True) if key in torn]
    appear = "appears" if len(torn) == 1 else "appear"
    return [f"{counted(len(torn), noun.removesuffix('s'))} {appear} under more than one class: {listing(examples, 4)}"]


def told_overlaps(shared: Mapping[str, int], noun: str) -> list[str]:
    """Return a note on each two splits that have rows in common; `shared` is of `splits.overlaps`, `noun` singular."""
    notes = []
    for name, count in shared.items():
        if count:
            left, right = name.split("_in_")
            lie = "lies" if count == 1 else "lie"
            notes.append(f"overlap: {counted(count, f'{left} {noun}')} also {lie} in the {right} split")
    return notes


def refuse(bad: Mapping[str, str], spec: DataSpec, where: str, notes: list[str], noun: str = "row") -> None:
    """Raise DataError for rows at fault (place → why), or note that they are left out."""
    if not bad:
        return
    place, why = min(bad.items(), key=lambda item: natural(item[0]))
    if spec.on_bad_row != "skip":
        raise DataError(
            why, where=place, received=f"{counted(len(bad), noun)} at fault in {where}",
            hint=f"mend the data, or leave such {noun}s out with data.on_bad_row: skip",
        )  # fmt: skip
    notes.append(f"left out: {counted(len(bad), noun)} of {where}; the first is {place}: {why}")

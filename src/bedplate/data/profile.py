"""What the data looks like, as JSON for the report: types, missing values, ranges, balance, duplicates, examples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from bedplate.codecs.columns import ColumnSchema, Raw, tensor_names
from bedplate.core.arrays import Arrays

_BINS = 20
_TOP = 10
_TEXT = 80


def table_profile(
    *,
    rows: Mapping[str, int],
    columns: Sequence[ColumnSchema],
    raw: Mapping[str, Sequence[Raw]],
    inputs: Arrays,
    targets: np.ndarray,
    target: str,
    labels: Sequence[str] | None,
    duplicates: int,
    overlap: Mapping[str, int],
    skipped: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return a table's profile.

    Args:
        rows: the number of rows in each split.
        columns: every column but the target.
        raw: raw values by column, of the training rows.
        inputs: the codec's tensors, of the training rows.
        targets: of the training rows: class indices, or values.
        target: the target's name.
        labels: the class labels, or None for numbers.
        duplicates: rows, over all splits, with the inputs of an earlier one.
        overlap: rows of one split whose inputs lie in another, by name.
        skipped: rows left out, with the reason.
    """
    names = tensor_names(columns)
    profile: dict[str, Any] = {
        "kind": "table",
        "rows": dict(rows),
        "target": {"name": target, "type": "class" if labels is not None else "number"},
        "columns": [_column(column, raw[column.name], inputs, names) for column in columns],
        "balance": _balance(targets, labels) if labels is not None else None,
        "duplicates": duplicates,
        "overlap": dict(overlap),
        "skipped": [{"row": row, "reason": reason} for row, reason in skipped[:100]],
        "skipped_rows": len(skipped),
        "examples": _examples(raw, targets, target, labels),
    }
    if labels is None:
        profile["target"] |= _number_facts(targets)
    return profile


def image_profile(
    *,
    rows: Mapping[str, int],
    sizes: Counter[tuple[int, int]],
    modes: Counter[str],
    labels: Mapping[str, int],
    duplicates: int,
    overlap: Mapping[str, int],
    skipped: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return a set of images' profile.

    Args:
        rows: the number of images in each split.
        sizes: how many files have each (width, height).
        modes: how many files have each Pillow mode ("RGB", "L", …).
        labels: how many training images each class has.
        duplicates: images, over all splits, equal to an earlier one once decoded.
        overlap: images of one split that lie in another, by name.
        skipped: files left out, with the reason.
    """
    common = sizes.most_common(_TOP)
    return {
        "kind": "image",
        "rows": dict(rows),
        "balance": dict(labels),
        "sizes": [[f"{width}×{height}", times] for (width, height), times in common]
        + ([["other", sizes.total() - sum(times for _, times in common)]] if len(sizes) > _TOP else []),
        "modes": [[mode, times] for mode, times in modes.most_common()],
        "duplicates": duplicates,
        "overlap": dict(overlap),
        "skipped": [{"row": row, "reason": reason} for row, reason in skipped[:100]],
        "skipped_rows": len(skipped),
    }


def text_profile(
    *,
    rows: Mapping[str, int],
    labels: Mapping[str, int],
    characters: np.ndarray,
    duplicates: int,
    overlap: Mapping[str, int],
    skipped: Sequence[tuple[str, str]] = (),
    examples: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return a set of texts' profile.

    Args:
        rows: the number of texts in each split.
        labels: how many training texts each class has.
        characters: of each training text.
        duplicates: texts, over all splits, equal to an earlier one.
        overlap: texts of one split that lie in another, by name.
        skipped: rows left out, with the reason.
        examples: a few training texts with their labels.
    """
    return {
        "kind": "text",
        "rows": dict(rows),
        "balance": dict(labels),
        "characters": _number_facts(characters.astype(np.float64)),
        "duplicates": duplicates,
        "overlap": dict(overlap),
        "skipped": [{"row": row, "reason": reason} for row, reason in skipped[:100]],
        "skipped_rows": len(skipped),
        "examples": [{"label": label, "text": _cut(text)} for label, text in examples],
    }


def language_profile(rows: Mapping[str, int], tokens: int, text: str) -> dict[str, Any]:
    """Return a text's profile: windows in each split, how many tokens and characters there are to learn from."""
    lines = [line for line in text[:20_000].splitlines() if line.strip()]
    return {
        "kind": "language",
        "rows": dict(rows),
        "text": {"tokens": tokens, "characters": len(text), "bytes": len(text.encode()), "lines": text.count("\n")},
        "examples": [_cut(line) for line in lines[:_TOP]],
    }


def pair_profile(
    *,
    rows: Mapping[str, int],
    characters: tuple[np.ndarray, np.ndarray],
    names: tuple[str, str],
    duplicates: int,
    overlap: Mapping[str, int],
    skipped: Sequence[tuple[str, str]],
    examples: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Return the profile of texts with answers: rows in each split, how long both are, and a few of them."""
    return {
        "kind": "pair",
        "rows": dict(rows),
        "columns": [
            {"name": name, "type": "text", "used": True, "reason": reason, **_number_facts(lengths.astype(np.float64))}
            for name, reason, lengths in zip(
                names, ("read; its characters", "written; its characters"), characters, strict=True
            )
        ],
        "duplicates": duplicates,
        "overlap": dict(overlap),
        "skipped": [{"row": row, "reason": reason} for row, reason in skipped[:100]],
        "skipped_rows": len(skipped),
        "examples": [{"label": _cut(answer), "text": _cut(text)} for text, answer in examples],
    }


def series_profile(
    rows: Mapping[str, int], columns: Sequence[str], values: np.ndarray, times: Sequence[str]
) -> dict[str, Any]:
    """Return a series' profile: windows in each split, and what the training steps [steps, columns] hold."""
    return {
        "kind": "series",
        "rows": dict(rows),
        "steps": len(times),
        "first": times[0],
        "last": times[-1],
        "columns": [
            {"name": name, "type": "number", "used": True, "reason": "read and forecast", **_number_facts(values[:, k])}
            for k, name in enumerate(columns)
        ],
    }


def _column(
    column: ColumnSchema, raw: Sequence[Raw], inputs: Arrays, names: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "reason": column.reason,
        "used": column.read,
    }
    if column.type == "number":
        return facts | _number_facts(inputs[names[column.name, ""]])
    if column.type == "category":
        texts = inputs[names[column.name, ""]]
        return facts | _text_facts([text or None for text in texts.tolist()])
    if column.type == "date":
        if column.form == "clock":
            return facts | _number_facts(inputs[names[column.name, "hour"]])
        return facts | _date_facts(inputs[names[column.name, "days"]])
    known = [None if value is None or value == "" else str(value) for value in raw]
    found = _text_facts(known)
    if column.type in {"identifier", "text"}:
        found["top"] = []  # values that seldom repeat say nothing, and may be private
    return facts | found


def _number_facts(values: np.ndarray) -> dict[str, Any]:
    known = values[np.isfinite(values)].astype(np.float64)
    facts: dict[str, Any] = {"missing": len(values) - len(known), "distinct": len(np.unique(known))}
    if len(known) == 0:
        return facts
    low, high = float(known.min()), float(known.max())
    with np.errstate(over="ignore"):
        mean = float(np.mean(known / max(abs(low), abs(high), 1e-300)) * max(abs(low), abs(high), 1e-300))
    facts |= {"min": low, "max": high, "mean": mean if math.isfinite(mean) else None}
    if low < high and math.isfinite(high - low):
        counts, edges = np.histogram(known, bins=min(_BINS, max(2, facts["distinct"])))
        facts["histogram"] = {"edges": edges.tolist(), "counts": counts.tolist()}
    return facts


def _date_facts(days: np.ndarray) -> dict[str, Any]:
    known = days[np.isfinite(days)]
    facts: dict[str, Any] = {"missing": len(days) - len(known), "distinct": len(np.unique(known))}
    if len(known) == 0:
        return facts

    def moment(day: float) -> str:
        text = (datetime(1970, 1, 1) + timedelta(days=day)).isoformat(" ", "seconds")
        return text.removesuffix(" 00:00:00")

    facts |= {"min": moment(float(known.min())), "max": moment(float(known.max())), "mean": moment(float(known.mean()))}
    if known.min() < known.max():
        counts, edges = np.histogram(known, bins=_BINS)
        facts["histogram"] = {"edges": [moment(edge) for edge in edges.tolist()], "counts": counts.tolist()}
    return facts


def _text_facts(texts: Sequence[str | None]) -> dict[str, Any]:
    counts = Counter(text for text in texts if text is not None)
    return {
        "missing": len(texts) - counts.total(),
        "distinct": len(counts),
        "top": [[_cut(text), times] for text, times in counts.most_common(_TOP)],
    }


def _balance(targets: np.ndarray, labels: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(targets, minlength=len(labels))
    return dict(zip(labels, counts.tolist(), strict=True))


def _examples(
    raw: Mapping[str, Sequence[Raw]], targets: np.ndarray, target: str, labels: Sequence[str] | None
) -> list[dict[str, Any]]:
    shown = []
    for row in range(min(5, len(targets))):
        answer = labels[int(targets[row])] if labels is not None else float(targets[row])
        values = {name: _plain(column[row]) for name, column in raw.items() if name != target}
        shown.append({**values, target: answer})
    return shown


def _plain(value: Raw) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"

"""From a table's files to a `Dataset`: read, understand the columns, split, and fit the codec on the training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.codecs.answers import Answers
from bedplate.codecs.columns import ColumnSchema, read_categories, read_columns, tensor_names
from bedplate.codecs.table import TableCodec
from bedplate.core.errors import DataError, listing
from bedplate.core.hashing import fingerprint, sha256_bytes
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.folds import fold_rows
from bedplate.data.leakage import find_leaks
from bedplate.data.profile import table_profile
from bedplate.data.schema import infer_schema
from bedplate.data.slices import slice_edges, slice_texts
from bedplate.data.splits import (
    carve_validation,
    check_rows,
    duplicates,
    limit_rows,
    overlaps,
    split_fingerprint,
    split_rows,
)
from bedplate.data.table_parts import Announce, Part, agree_on_labels, encode, read_tables, understand
from bedplate.data.tables import RawTable, counted
from bedplate.data.targets import check_target, positive_index
from bedplate.recipe.schema import DataSpec


def load_table(
    spec: DataSpec,
    task: str,
    seed: int,
    *,
    base: Path,
    announce: Announce,
    given: tuple[dict[str, RawTable], str, str] | None = None,
) -> Dataset:
    """Return the dataset of a table; see `bedplate.data.load.load_dataset` for the arguments.

    `given` are the tables, the dataset's name and the target's, where they have been read already.
    """
    tables, name, target = read_tables(spec, base, announce) if given is None else given
    classes = task == "tabular-classification"
    first = tables["train"]
    check_rows(len(first), first.name)
    columns = infer_schema(first.columns, target, spec.columns, _group_column(spec))
    notes: list[str] = []
    if not any(column.read for column in columns):
        texts = any(column.type in ("identifier", "text") for column in columns)
        raise DataError(
            "no column is left to learn from",
            where=first.name,
            hint="give one a type in data.columns"
            + (", or read one column's texts: `bedplate init --task text-classification`" if classes and texts else ""),
            received="; ".join(f"{c.name}: {c.type}, {c.reason}" for c in columns[:4]) or "the target alone",
        )
    parts = {split: understand(table, columns, target, classes, spec, notes) for split, table in tables.items()}
    labels = agree_on_labels(parts, classes, target, spec, notes)
    columns, parts = _without_leaks(columns, parts, encode(parts["train"].targets, labels), spec, notes)
    splits = _split(parts, spec, columns, target, classes, seed, notes)
    targets = {split: encode(part.targets, labels) for split, part in splits.items()}
    keys = {split: part.keys() for split, part in splits.items()}
    shared = overlaps(keys["train"], keys["validation"], keys["test"])
    notes += _overlap_notes(shared, official=spec.files is not None)
    everything = [key for split in keys.values() for key in split]
    distinct = len(set().union(*keys.values()))
    if distinct < len(everything) / 5:
        notes.append(
            f"{len(everything):,} rows have only {distinct:,} distinct inputs; equal inputs stay on one side of the "
            "split, so the model is tested on inputs that it never saw"
        )
    codec = TableCodec.fit(
        splits["train"].inputs, columns, target, order=list(first.columns), reading=_reading(first, spec)
    )
    notes = _column_notes(columns) + notes
    for note in notes:
        announce(note)
    counts = Counter(splits["train"].targets.tolist()) if labels is not None else Counter()
    positive = positive_index(labels, counts, spec.positive) if labels is not None else None
    edges = slice_edges(columns, splits["train"].inputs)
    rows = {
        split: Rows(part.inputs, targets[split], part.raw.ids, slice_texts(columns, part.inputs, edges))
        for split, part in splits.items()
    }
    profile = table_profile(
        rows={split: len(part) for split, part in rows.items()},
        columns=columns,
        raw=splits["train"].raw.columns,
        inputs=splits["train"].inputs,
        targets=targets["train"],
        target=target,
        labels=labels,
        duplicates=duplicates(everything),
        overlap=shared,
        skipped=[row for table in tables.values() for row in table.skipped],
    )
    return Dataset(
        name=name,
        codec=codec,
        answers=Answers(target, labels, positive),
        train=rows["train"],
        validation=rows["validation"],
        test=rows["test"],
        schema=_schema_json(columns, target, labels),
        profile=profile,
        fingerprint=_fingerprint(columns, target, splits, keys),
        notes=tuple(notes),
        split_fingerprint=split_fingerprint(keys["train"], keys["validation"], keys["test"]),
    )


def _group_column(spec: DataSpec) -> str | None:
    return spec.split.column if spec.split.by == "group" else None


def _split(
    parts: dict[str, Part],
    spec: DataSpec,
    columns: Sequence[ColumnSchema],
    target: str,
    classes: bool,
    seed: int,
    notes: list[str],
) -> dict[str, Part]:
    """Return the three splits; official ones are kept, and what is missing is carved from training."""
    splits = dict(parts)
    whole = parts["train"]
    labels = whole.targets.astype(str) if classes else whole.targets
    keys = whole.keys()
    groups, times = _order(whole, spec, columns, target)
    if spec.files is None or spec.split.folds is not None:
        divide = split_rows if spec.split.folds is None else fold_rows
        split = divide(keys, labels, spec.split, seed, groups=groups, times=times)
        if len(parts) > 1:
            notes.append(
                "cross-validation: the folds are of the training file; the other official files stay untouched"
            )
        notes += split.notes
        splits = {name: whole.take(getattr(split, name)) for name in ("train", "validation", "test")}
    for name, fraction in (("test", spec.split.test), ("validation", spec.split.validation)):
        if name not in splits:
            rest = splits["train"]
            labels = rest.targets.astype(str) if classes else rest.targets
            groups, times = _order(rest, spec, columns, target)
            train, carved = carve_validation(
                rest.keys(), labels, spec.split, seed, groups=groups, times=times, fraction=fraction
            )
            splits |= {"train": rest.take(train), name: rest.take(carved)}
            notes.append(f"for {name}, {counted(len(carved))} of {parts['train'].raw.name} were set aside")
    for name, part in splits.items():
        if len(part.targets) == 0:
            raise DataError(f"the {name} split has no rows", where="data")
    if spec.limit is not None and spec.limit < len(splits["train"].targets):
        rest = splits["train"]
        kept = limit_rows(rest.targets.astype(str) if classes else rest.targets, spec.limit, seed)
        notes.append(f"training is limited to {len(kept):,} of {len(rest.targets):,} rows (data.limit)")
        splits["train"] = rest.take(kept)
    return {name: splits[name] for name in ("train", "validation", "test")}


def _order(
    part: Part, spec: DataSpec, columns: Sequence[ColumnSchema], target: str
) -> tuple[list[str] | None, np.ndarray | None]:
    """Return (groups, times) where the recipe splits by one of them."""
    if spec.split.by == "random":
        return None, None
    where = "data.split.column"
    name = check_target(part.raw.columns, spec.split.column, "the table") if spec.split.column else None
    if name is None or name == target:
        raise DataError(f"a split by {spec.split.by} needs a column other than the target", where=where)
    if spec.split.by == "group":
        texts = read_categories(part.raw.columns[name], ColumnSchema(name, "category"), [])
        # A row without a group is a group of its own.
        return [text or f"\0{row}" for row, text in enumerate(texts.tolist())], None
    names = tensor_names(columns)
    column = next(column for column in columns if column.name == name)
    tensor = names.get((name, "days")) or names.get((name, ""))
    if tensor is not None and column.type != "category":
        return None, part.inputs[tensor]
    numbers = read_columns({name: part.raw.columns[name]}, [ColumnSchema(name, "number", ".")])
    if numbers.faults:
        raise DataError(
            f"column '{name}' holds neither dates nor numbers",
            where=where,
            received=numbers.faults[0].received,
            hint=f"set data.columns: {{{name}: {{type: date}}}} if it should",
        )
    return None, next(iter(numbers.tensors.values()))


def _without_leaks(
    columns: list[ColumnSchema], parts: dict[str, Part], targets: np.ndarray, spec: DataSpec, notes: list[str]
) -> tuple[list[ColumnSchema], dict[str, Part]]:
    """Set copies of the target aside, unless the recipe gives them a type, and tell of all that give it away."""
    leaks = find_leaks(parts["train"].inputs, columns, targets)
    told = {name for name, column in spec.columns.items() if column.type is not None}
    copies = {leak.column for leak in leaks if leak.copy and leak.column not in told}
    for leak in leaks:
        text = leak.text if leak.column in copies else leak.text.replace(": set aside", "; the recipe keeps it")
        notes.append(f"LEAK: {text}")
    if not copies:
        return columns, parts
    names = tensor_names(columns)
    gone = {names[name, ""] for name in copies}
    kept = [
        replace(column, type="ignore", reason="it gives the target away: a copy of it under another name")
        if column.name in copies
        else column
        for column in columns
    ]
    if not any(column.read for column in kept):
        raise DataError(
            "every usable column is a copy of the target",
            where="data",
            received=listing(copies),
            hint="if one of them may be used, give it a type in data.columns",
        )
    lighter = {
        split: Part(part.raw, {name: array for name, array in part.inputs.items() if name not in gone}, part.targets)
        for split, part in parts.items()
    }
    return kept, lighter


def _column_notes(columns: Sequence[ColumnSchema]) -> list[str]:
    aside = [
        f"column '{column.name}' is set aside ({column.type}): {column.reason}" for column in columns if not column.read
    ]
    loud = [
        f"column '{column.name}': {column.reason}"
        for column in columns
        if column.read and ("taken for" in column.reason or "commonest are kept" in column.reason)
    ]
    return aside + loud


def _overlap_notes(shared: Mapping[str, int], *, official: bool) -> list[str]:
    if not official:
        return []
    says = {"validation_in_train": "a training", "test_in_train": "a training", "test_in_validation": "a validation"}
    return [
        f"{counted(times, name.partition('_')[0] + ' row')} {'has' if times == 1 else 'have'} the inputs of "
        f"{says[name]} row; the official split is kept as published"
        for name, times in shared.items()
        if times
    ]


def _reading(table: RawTable, spec: DataSpec) -> dict[str, Any]:
    """How a prediction file of the same kind is to be read."""
    found = {"delimiter": table.reading.get("delimiter"), "encoding": spec.encoding, "comment": spec.comment}
    return {name: value for name, value in found.items() if value is not None}


def _schema_json(columns: Sequence[ColumnSchema], target: str, labels: Sequence[str] | None) -> dict[str, Any]:
    return {
        "kind": "table",
        "target": {"name": target, "type": "number" if labels is None else "class", "labels": labels and list(labels)},
        "columns": [{**column.to_json(), "used": column.read} for column in columns],
    }


def _fingerprint(
    columns: Sequence[ColumnSchema], target: str, splits: Mapping[str, Part], keys: Mapping[str, Sequence[str]]
) -> str:
    """Return a digest of the columns' meaning and of every row's inputs and target."""
    return fingerprint(
        {
            "columns": [[column.name, column.type, column.form] for column in columns],
            "target": target,
            "rows": {
                split: sha256_bytes(
                    "\n".join(
                        f"{key} {value}" for key, value in zip(keys[split], part.targets.tolist(), strict=True)
                    ).encode()
                )
                for split, part in splits.items()
            },
        }
    )

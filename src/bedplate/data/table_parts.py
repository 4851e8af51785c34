"""A table's files as parts: raw rows read into tensors and targets, with rows at fault refused or left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bedplate.codecs.columns import ColumnSchema, read_columns
from bedplate.core.arrays import take
from bedplate.core.errors import DataError, listing
from bedplate.core.hashing import row_digests
from bedplate.data.embedded import EMBEDDED_IMAGES, EMBEDDED_TABLES, embedded_table
from bedplate.data.tables import RawTable, counted, locate, read_table
from bedplate.data.targets import check_target, read_labels, read_numbers, sorted_labels
from bedplate.recipe.schema import ColumnSpec, DataSpec

Announce = Callable[[str], None]
_NAMED_IMAGES = (*EMBEDDED_IMAGES, "mnist", "fashion-mnist", "cifar10-jpeg")
_TABLE_ENDINGS = {".gz", ".bz2", ".xz", ".zip", ".csv", ".tsv", ".txt", ".data", ".parquet", ".jsonl", ".json"}


@dataclass
class Part:
    """One file's rows, read: raw values, tensors, and the target as texts or floats."""

    raw: RawTable
    inputs: dict[str, np.ndarray]
    targets: np.ndarray

    def take(self, index: np.ndarray) -> Part:
        """Return the rows at `index`."""
        return Part(self.raw.take(index.tolist()), take(self.inputs, index), self.targets[index])

    def keys(self) -> list[str]:
        """One digest a row over its inputs."""
        return row_digests(self.inputs)


def read_tables(spec: DataSpec, base: Path, announce: Announce) -> tuple[dict[str, RawTable], str, str]:
    """Return the raw tables ("train" alone, or each official split), the dataset's name, and the target's."""
    if spec.source in EMBEDDED_TABLES:
        table = embedded_table(spec.source)
        target = check_target(table.columns, spec.target or EMBEDDED_TABLES[spec.source], spec.source)
        announce(f"{len(table):,} rows of the embedded table {spec.source}")
        return {"train": table}, spec.source, target
    if spec.source in _NAMED_IMAGES:
        raise DataError(
            f"'{spec.source}' holds images, not rows of a table",
            where="data.source",
            hint="set task: image-classification",
        )
    tables, name = read_files(spec, base, announce)
    first = tables["train"]
    target = check_target(first.columns, spec.target, first.name)
    if target in first.repeated:
        raise DataError(
            f"two columns are called '{target}': which is the target?",
            where=first.name,
            hint="give the columns different names",
        )
    for table in tables.values():
        _same_columns(first, table)
    return tables, name, target


def read_files(spec: DataSpec, base: Path, announce: Announce) -> tuple[dict[str, RawTable], str]:
    """Return the raw tables of the files that `spec` names ("train" alone, or each official split), and their name."""
    files = (
        {"train": spec.source or ""}
        if spec.files is None
        else {split: file for split, file in spec.files.model_dump().items() if file is not None}
    )
    tables = {}
    for split, file in files.items():
        path = locate(file, base)
        if path.is_dir():
            raise DataError(
                "a folder is no table",
                where=str(path),
                expected="a CSV, Parquet or JSONL file",
                hint="for images by class, set task: image-classification",
            )
        tables[split] = read_table(path, spec)
        announce(f"{counted(len(tables[split]))}, {len(tables[split].columns)} columns in {path.name}")
    name = Path(files["train"]).name
    while Path(name).suffix.lower() in _TABLE_ENDINGS:
        name = Path(name).stem
    return tables, name


def _same_columns(first: RawTable, table: RawTable) -> None:
    if set(table.columns) != set(first.columns):
        lacking = [name for name in first.columns if name not in table.columns]
        extra = [name for name in table.columns if name not in first.columns]
        raise DataError(
            f"the columns differ from those of {first.name}",
            where=table.name,
            expected=listing(lacking) if lacking else None,
            received=listing(extra) if extra else None,
        )


def understand(
    table: RawTable, columns: Sequence[ColumnSchema], target: str, classes: bool, spec: DataSpec, notes: list[str]
) -> Part:
    """Read a raw table's columns and target; rows at fault are an error, or are left out and told."""
    decoded = read_columns(table.columns, columns)
    column_spec = spec.columns.get(target, ColumnSpec())
    read = (read_labels if classes else read_numbers)(table.columns[target], target, column_spec)
    if not classes and len(read.faults) > len(table) // 2:
        row = min(read.faults)
        raise DataError(
            f"the target '{target}' holds no numbers",
            where=table.ids[row],
            received=str(table.columns[target][row])[:60],
            expected="finite numbers",
            hint="for classes, set task: tabular-classification",
        )
    bad: dict[int, str] = {int(row): f"the target '{target}' is missing" for row in read.missing}
    bad |= {row: f"the target '{target}': {text}" for row, text in read.faults.items()}
    for fault in decoded.faults:
        bad.setdefault(fault.row, f"column '{fault.column}': expected {fault.expected}, received {fault.received}")
    notes += table.notes
    if bad and spec.on_bad_row == "error":
        row = min(bad)
        lacking = "is missing" in bad[row]
        raise DataError(
            bad[row],
            where=_place(table.ids[row]),
            expected="a target in every row" if lacking else None,
            received=f"{len(bad)} such row{'s' if len(bad) > 1 else ''} in {len(table)}",
            hint="mend the data, or leave such rows out with data.on_bad_row: skip",
        )
    part = Part(table, decoded.tensors, read.values)
    if bad:
        table.skipped += [(table.ids[row], bad[row]) for row in sorted(bad)]
        part = part.take(np.array([row for row in range(len(table)) if row not in bad], np.int64))
    if table.skipped:
        first_row, why = table.skipped[0]
        notes.append(f"left out: {counted(len(table.skipped))} of {table.name}; the first is {first_row}: {why}")
    return part


def _place(row_id: str) -> str:
    name, _, line = row_id.rpartition(":")
    return f"{name}, line {line}"


def agree_on_labels(
    parts: Mapping[str, Part], classes: bool, target: str, spec: DataSpec, notes: list[str]
) -> tuple[str, ...] | None:
    """Return the class labels of the training file, having left out (or refused) rows of other classes elsewhere."""
    values = parts["train"].targets
    distinct = set(values.tolist())
    if len(values) and len(distinct) < 2:
        raise DataError(
            f"the target '{target}' has one {'class' if classes else 'value'} only, so there is nothing to learn",
            where="data.target",
            expected="at least two",
            received=f"'{next(iter(distinct))}' in all {len(values)} rows",
        )
    if not classes:
        return None
    if len(distinct) > max(50, len(values) // 2):
        raise DataError(
            f"the target '{target}' hardly ever repeats",
            where="data.target",
            expected="classes, each in several rows",
            received=f"{len(distinct)} distinct values in {len(values)} rows",
            hint="for a number to predict, set task: tabular-regression",
        )
    for part in parts.values():
        strange = [row for row, label in enumerate(part.targets.tolist()) if label not in distinct]
        if strange and spec.on_bad_row == "error":
            raise DataError(
                f"class '{part.targets[strange[0]]}' does not occur in training",
                where=_place(part.raw.ids[strange[0]]),
                expected=f"one of {listing(sorted_labels(list(distinct)))}",
                hint="mend the labels (data.columns has `strip`), or leave such rows out with data.on_bad_row: skip",
            )
        if strange:
            notes.append(
                f"left out: {counted(len(strange))} of {part.raw.name}, whose class does not occur in training"
            )
            kept = part.take(np.setdiff1d(np.arange(len(part.targets)), strange))
            left_out = [
                (part.raw.ids[row], f"class '{part.targets[row]}' does not occur in training") for row in strange
            ]
            part.raw.skipped += left_out
            part.raw, part.inputs, part.targets = kept.raw, kept.inputs, kept.targets
    return sorted_labels(list(distinct))


def encode(targets: np.ndarray, labels: Sequence[str] | None) -> np.ndarray:
    """Return class indices (int64), or the values themselves (float64) where there are no labels."""
    if labels is None:
        return targets.astype(np.float64)
    places = {label: place for place, label in enumerate(labels)}
    return np.array([places[label] for label in targets.tolist()], np.int64)

"""Read labelled texts from wherever they are (named, folders and archives by class, tables) into one pool of rows."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bedplate.codecs.codec import TEXT
from bedplate.codecs.files import is_archive, walk
from bedplate.codecs.text import TextCodec
from bedplate.core.errors import DataError, InputError, PayloadError, did_you_mean, listing
from bedplate.data.download import Announce
from bedplate.data.label_sets import LISTS, TOGETHER, apart, gathered, joined, read_cell, separator_of
from bedplate.data.layout import read_layout
from bedplate.data.named import NAMED, locate
from bedplate.data.official import refuse
from bedplate.data.table_parts import read_files, read_tables
from bedplate.data.tables import RawTable, counted
from bedplate.data.targets import read_labels
from bedplate.recipe.schema import ColumnSpec, DataSpec

_CHECKER = TextCodec({}, 1)
"""Says whether a payload is a text; its tokenizer is never asked."""


@dataclass
class TextPool:
    """Texts before they are split, a row each.

    `texts` and `labels` are object `str` [N]; where a row may have several labels they are one text, of
    `label_sets.joined`. `splits` is "train", "validation" or "test" [N], or None where the source
    has no official ones; `bad` maps what was skipped to its fault; `column` is what the texts are called.
    """

    name: str
    texts: np.ndarray
    labels: np.ndarray
    ids: list[str]
    splits: np.ndarray | None
    column: str = TEXT
    target: str = "class"
    notes: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)


def read_text_pool(spec: DataSpec, base: Path, announce: Announce, *, several: bool = False) -> TextPool:
    """Return the texts that `spec` names; relative paths start from `base`. With `several` a row may have many labels.

    Raises:
        DataError: no such source, no texts in it, or bad rows (the first is named) unless `on_bad_row` is "skip".
    """
    sources = _sources(spec, base, announce)
    if sources is not None and several:
        raise DataError(
            "folders give a text one label each", where="data.source", expected="a table with a column of labels",
            received=sources[0], hint="set task: text-classification",
        )  # fmt: skip
    if sources is not None:
        return _from_folders(*sources, spec, announce)
    if spec.label_columns is None:
        tables, name, target = read_tables(spec, base, announce)
        return _from_tables(tables, name, target, spec, several, {})
    asked = spec.label_columns
    twice = [column for column, times in Counter(asked).items() if times > 1]
    if twice:
        raise DataError("a column is named twice", where="data.label_columns", received=listing(twice))
    tables, name = read_files(spec, base, announce)
    faults: dict[str, str] = {}
    for split, table in tables.items():
        for column in asked:
            if column not in table.columns:
                raise DataError(
                    "no such column", where=f"data.label_columns in {table.name}",
                    expected=f"some of {listing(table.columns)}", received=column,
                    hint=did_you_mean(column, table.columns),
                )  # fmt: skip
        tables[split], found = gathered(table, asked)
        faults |= found
    pool = _from_tables(tables, name, TOGETHER, spec, several, faults)
    met = {label for row in pool.labels for label in apart(row)}
    pool.notes.extend(f"no row has '{column}', so it is no label" for column in asked if column not in met)
    return pool


def _sources(spec: DataSpec, base: Path, announce: Announce) -> tuple[str, list[tuple[Path, str | None]]] | None:
    """Return the data's name and the folders or archives by class, each with its split; None for tables."""
    named = NAMED.get(spec.source or "")
    if named is not None and named.kind == "texts":
        return named.name, [(path, file.partition(".")[0]) for file, path in locate(named, announce).items()]
    if named is not None:
        raise DataError(
            f"'{spec.source}' holds images, not texts", where="data.source", hint="set task: image-classification"
        )
    given: list[tuple[str, str | None]] = [(spec.source or "", None)]
    if spec.files is not None:
        given = [(text, split) for split, text in spec.files.model_dump().items() if text is not None]
    paths = [(base / Path(os.path.expandvars(text)).expanduser(), split) for text, split in given]
    first = paths[0][0]
    if not first.exists() and spec.target is None:
        known = [name for name, named in NAMED.items() if named.kind == "texts"]
        raise DataError(
            "no such folder, archive or table, and no named set of texts", where="data.source",
            expected=f"a path, or one of {listing(known)}", received=given[0][0], hint=did_you_mean(given[0][0], known),
        )  # fmt: skip
    if first.is_dir() or (is_archive(first) and spec.target is None):
        return first.resolve().name.partition(".")[0], paths
    return None


def _from_folders(name: str, sources: list[tuple[Path, str | None]], spec: DataSpec, announce: Announce) -> TextPool:
    texts: list[str] = []
    labels: list[str] = []
    ids: list[str] = []
    splits: list[str | None] = []
    bad: dict[str, str] = {}
    notes: list[str] = []
    official = len(sources) > 1
    for path, split in sources:
        announce(f"reading texts from {path}")
        try:
            members = {member.name: member for member in walk(path)}
        except InputError as error:
            raise DataError(error.what, where=error.where, received=error.received, hint=error.hint) from error
        layout = read_layout(list(members), str(path), within_split=split is not None)
        official |= layout.official
        notes += layout.notes
        if layout.stray:
            notes.append(f"{counted(len(layout.stray), 'file')} outside the class folders left out")
        for member_name, (own, label) in layout.places.items():
            member = members[member_name]
            place = f"{split}/{member_name}" if split else member_name
            try:
                text = _CHECKER.text_of(member.data)
            except PayloadError as error:
                bad[place] = member.fault or error.message
                continue
            texts.append(text)
            labels.append(label)
            ids.append(place)
            splits.append(split or own)
    refuse(bad, spec, str(sources[0][0]), notes)
    if not texts:
        raise DataError("no texts", where=str(sources[0][0]), expected="a folder for each class with its texts in it")
    return TextPool(
        name, np.array(texts, object), np.array(labels, object), ids, np.array(splits, object) if official else None,
        notes=notes, bad=bad,
    )  # fmt: skip


def _from_tables(
    tables: dict[str, RawTable], name: str, target: str, spec: DataSpec, several: bool, faults: dict[str, str]
) -> TextPool:
    """Return the texts of tables; `faults` are rows at fault that are known already."""
    column = text_column(tables["train"], target, spec)
    texts: list[str] = []
    labels: list[str] = []
    ids: list[str] = []
    splits: list[str] = []
    bad = dict(faults)
    notes: list[str] = []
    for split, table in tables.items():
        notes += table.notes
        bad |= dict(table.skipped)
        without: set[int] = set()
        if several:
            sign = spec.label_separator or separator_of(tables["train"].columns[target])
            values = _sets(table, target, sign, bad)
            if split == "train" and sign not in (None, LISTS):
                known = any(sign in str(cell) for cell in table.columns[target] if cell is not None)
                notes.append(
                    f"labels of '{target}' are separated by '{sign}'" + ("" if known else ", which no cell holds")
                )
            lacking = sum(cell is None or not str(cell).strip() for cell in table.columns[target])
            cells = f"{counted(lacking, 'empty cell')} of '{target}' in {split}"
            notes += [f"{cells} {'counts' if lacking == 1 else 'count'} as no label"] if lacking else []
        else:
            read = read_labels(table.columns[target], target, spec.columns.get(target, ColumnSpec()))
            values, without = read.values.tolist(), {int(row) for row in read.missing}
        for row, payload in enumerate(table.columns[column]):
            try:
                text = _CHECKER.text_of("" if payload is None else str(payload))
            except PayloadError as error:
                bad[table.ids[row]] = f"column '{column}': {error.message}"
                continue
            if row in without:
                bad[table.ids[row]] = f"the target '{target}' is missing"
            if table.ids[row] in bad:
                continue
            texts.append(text)
            labels.append(str(values[row]))
            ids.append(table.ids[row])
            splits.append(split)
    refuse(bad, spec, name, notes)
    return TextPool(
        name, np.array(texts, object), np.array(labels, object), ids,
        np.array(splits, object) if len(tables) > 1 else None, column, target, notes, bad,
    )  # fmt: skip


def _sets(table: RawTable, target: str, separator: str | None, bad: dict[str, str]) -> list[str]:
    """Return each row's labels as one text; rows whose cell can't be read are added to `bad`."""
    found = []
    for row, cell in enumerate(table.columns[target]):
        try:
            found.append(joined(read_cell(cell, separator)))
        except ValueError as error:
            bad[table.ids[row]] = f"the target '{target}': {error}"
            found.append(joined(()))
    return found


def text_column(table: RawTable, target: str | None, spec: DataSpec) -> str:
    """Return the column that holds the texts: the recipe's, or the one of the longest values but for the target.

    Raises:
        DataError: no such column, or none but the target.
    """
    others = [name for name in table.columns if name != target]
    if spec.text.column is not None:
        if spec.text.column not in others:
            raise DataError(
                "no such column", where="data.text.column", expected=f"one of {listing(others)}",
                received=spec.text.column, hint=did_you_mean(spec.text.column, others),
            )  # fmt: skip
        return spec.text.column
    if not others:
        raise DataError("the table has no column but the target", where=table.name, expected="a column of texts")
    return max(others, key=lambda name: sum(len(str(value)) for value in table.columns[name] if value is not None))

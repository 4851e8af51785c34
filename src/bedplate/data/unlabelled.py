"""Rows without labels, for semi-supervised learning: a table, or images in any layout, read through a fitted codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.codecs.codec import Codec
from bedplate.codecs.files import image_payloads, is_archive, is_idx, walk
from bedplate.codecs.image import IMAGE, ImageCodec
from bedplate.codecs.rows import read_rows
from bedplate.codecs.table import TableCodec
from bedplate.core.arrays import Arrays, concatenate
from bedplate.core.errors import DataError, PayloadError
from bedplate.core.hashing import fingerprint, row_digests, sha256_bytes, sha256_file
from bedplate.data.download import Announce
from bedplate.data.image_files import decode_images, find_images, refuse_or_note
from bedplate.data.tables import counted, locate, read_table, unpack
from bedplate.recipe.schema import DataSpec

_BATCH = 1024
_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Unlabelled:
    """Rows without labels.

    Attributes:
        inputs: the codec's tensors, row axis first.
        ids: where each row came from.
        notes: for people: what was left out as bad.
    """

    inputs: Arrays
    ids: Sequence[str]
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def keys(self) -> list[str]:
        """Return one digest a row over its inputs."""
        return row_digests(dict(self.inputs))


def source_digest(source: str, base: Path) -> str:
    """Return the SHA-256 of a source's content: of the file, or of every file's name and content below a folder.

    Raises:
        DataError: there is nothing at the path.
    """
    path = locate(source, base)
    if not path.is_dir():
        return sha256_file(path)
    return fingerprint([[member.name, member.fault or sha256_bytes(member.data)] for member in walk(path)])


def read_unlabelled(source: str, codec: Codec, spec: DataSpec, *, base: Path, announce: Announce) -> Unlabelled:
    """Return the rows of a table or the images of a folder, archive, IDX file or single file, decoded.

    A table's target may be there, empty, or absent, and is not read; folders of images may lie in any layout, and what
    they are called means nothing.

    Args:
        source: a path, with `~` and `$NAME` expanded; relative ones start from `base`.
        codec: the training data's.
        spec: the recipe's `data`, for `on_bad_row` and for how a table is read.
        base: the folder that relative paths start from.
        announce: told what is read.

    Raises:
        DataError: the source can't be read, holds nothing, or has bad rows that are not to be skipped.
    """
    if not isinstance(codec, ImageCodec | TableCodec):
        raise DataError(
            "rows without labels are read as images or rows of tables", where=source,
            received=f"a task on {codec.kind}s",
            hint="leave training.pseudo_labels and compression.unlabelled out",
        )  # fmt: skip
    path = locate(source, base)
    skip = spec.on_bad_row == "skip"
    try:
        if isinstance(codec, ImageCodec):
            found = _images(path, codec, skip, announce)
        else:
            found = _rows(path, codec, spec, skip)
    except PayloadError as error:
        raise DataError(
            error.what, where=error.where or str(path), expected=error.expected, received=error.received,
            hint=error.hint,
        ) from error  # fmt: skip
    if not len(found):
        raise DataError("no rows without labels", where=str(path), expected="one or more")
    return found


def _images(path: Path, codec: ImageCodec, skip: bool, announce: Announce) -> Unlabelled:
    if is_idx(path) or not (path.is_dir() or is_archive(path)):
        payloads = list(image_payloads([path]))
        return Unlabelled(codec.decode([payload for _, payload in payloads]), [name for name, _ in payloads])
    found = find_images([(path, None)], announce)
    names = list(found.facts)
    pixels, good, more = decode_images(found, names, codec, announce)
    notes = refuse_or_note(found.faults | more, skip, str(path))
    return Unlabelled({IMAGE: pixels[good]}, [name for name, kept in zip(names, good, strict=True) if kept], notes)


def _payloads(path: Path, codec: TableCodec, spec: DataSpec) -> tuple[list[str], list[Any]]:
    """Return the ids and the rows, as mappings of column to value, of a table's file."""
    if path.is_dir():
        raise DataError("a folder is no table", where=str(path), expected="a CSV, Parquet or JSONL file")
    data = unpack(path)
    if data[:4] == _PARQUET:
        table = read_table(path, spec)
        rows = [dict(zip(table.columns, values, strict=True)) for values in zip(*table.columns.values(), strict=True)]
        return table.ids, rows
    if not data.strip():
        raise DataError("the file is empty", where=str(path), expected="rows")
    pairs = list(read_rows(data, name=path.name, codec=codec))
    return [name for name, _ in pairs], [row for _, row in pairs]


def _rows(path: Path, codec: TableCodec, spec: DataSpec, skip: bool) -> Unlabelled:
    ids, rows = _payloads(path, codec, spec)
    if not rows:
        raise DataError("the table has no rows", where=str(path))
    kept: list[str] = []
    parts: list[Arrays] = []
    bad: list[tuple[str, str]] = []
    for start in range(0, len(rows), _BATCH):
        names, some = ids[start : start + _BATCH], rows[start : start + _BATCH]
        try:
            parts.append(codec.decode(some))
            kept += names
        except PayloadError:
            for name, row in zip(names, some, strict=True):
                try:
                    parts.append(codec.decode([row]))
                    kept.append(name)
                except PayloadError as error:
                    bad.append((name, error.what))
                    if not skip:
                        raise DataError(
                            error.what, where=name, expected=error.expected, received=error.received,
                            hint=error.hint or "mend the row, or leave such rows out with data.on_bad_row: skip",
                        ) from error  # fmt: skip
    notes = [f"left out: {counted(len(bad))} of {path.name}; the first is {bad[0][0]}: {bad[0][1]}"] if bad else []
    inputs = concatenate(parts) if parts else {tensor.name: np.empty(0) for tensor in codec.tensors}
    return Unlabelled(inputs, kept, notes)

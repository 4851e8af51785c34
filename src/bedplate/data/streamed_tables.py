"""Streamed tables: training rows stay in their shards; a sample of them, validation and test are in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bedplate.codecs.columns import Raw, read_columns
from bedplate.codecs.table import TableCodec
from bedplate.core.arrays import Arrays, concatenate
from bedplate.core.errors import DataError
from bedplate.core.hashing import fingerprint
from bedplate.data.dataset import Dataset
from bedplate.data.download import Announce
from bedplate.data.parquet_shards import ParquetShards
from bedplate.data.shard_order import spread_over
from bedplate.data.shards import PARQUET, find_shards, is_pattern
from bedplate.data.stream_targets import LabelReader, NumberReader, TargetReader
from bedplate.data.streamed import asked, check_fits, open_stream, with_stream
from bedplate.data.tables import RawTable, counted, locate, raw_values, read_table
from bedplate.data.tabular import load_table
from bedplate.data.targets import check_target
from bedplate.recipe.schema import ColumnSpec, DataSpec

_CHUNK = 2048
"""Rows that are decoded at a time: a Python object a value is many times the size of what it becomes."""

_VALUE_BYTES = 100
"""What a raw value takes in memory, about."""


def load_streamed_table(spec: DataSpec, task: str, seed: int, *, base: Path, announce: Announce) -> Dataset:
    """Return a sharded table as a dataset with a stream; see `bedplate.data.load.load_dataset`.

    Raises:
        DataError: no shards, shards that can't be read, or a request that a stream can't meet.
    """
    files, stream = asked(spec)
    paths, kind = find_shards(files.train, base, "data.files.train")
    if kind != PARQUET:
        raise DataError("tables are streamed from Parquet", where="data.files.train", received=paths[0].name)
    shards = ParquetShards(paths)
    if not shards.blocks:
        raise DataError("the shards have no rows", where="data.files.train", received=files.train)
    target = check_target(dict.fromkeys(shards.columns), spec.target, paths[0].name)
    announce(f"{sum(block.rows for block in shards.blocks):,} rows in {len(paths):,} Parquet shards of {files.train}")
    sample = spread_over([block.rows for block in shards.blocks], stream.sample)
    assert files.validation is not None
    assert files.test is not None
    tables = {
        "train": _rows(shards, sample, f"the sample of {files.train}"),
        "validation": _whole(files.validation, base, spec, "validation"),
        "test": _whole(files.test, base, spec, "test"),
    }
    for split, table in tables.items():
        if set(table.columns) != set(shards.columns):
            raise DataError(
                f"the columns differ from those of {paths[0].name}", where=f"data.files.{split}",
                expected=", ".join(shards.columns), received=", ".join(table.columns),
            )  # fmt: skip
    name = paths[0].resolve().parent.name or "shards"
    raw_targets = tables["train"].columns[target]
    dataset = load_table(spec, task, seed, base=base, announce=announce, given=(tables, name, target))
    codec = dataset.codec
    assert isinstance(codec, TableCodec)
    column_spec = spec.columns.get(target, ColumnSpec())
    labels = dataset.answers.labels
    targets: TargetReader = (
        NumberReader(raw_targets, target, column_spec) if labels is None else LabelReader(labels, target, column_spec)
    )
    shape = codec.feature_spec()
    made = open_stream(
        shards.blocks,
        shards.shards,
        _Reader(shards, codec, target, targets),
        stream,
        4 * int(shape["numeric"]) + 8 * len(shape["categories"]),
        fingerprint({"shards": shards.fingerprint, "codec": codec.contract(), "labels": labels and list(labels)}),
    )
    return with_stream(dataset, made, shards.shards, files.train)


class _Reader:
    """Reads a row group as features and targets, with the codec that serving uses."""

    def __init__(self, shards: ParquetShards, codec: TableCodec, target: str, targets: TargetReader) -> None:
        self._shards, self._codec, self._target, self._targets = shards, codec, target, targets
        self._columns = [column for column in codec.columns if column.read]
        self._names = [*(column.name for column in self._columns), target]

    def __call__(self, block: int) -> tuple[Arrays, np.ndarray]:
        """Return a block's features and targets."""
        table = self._shards.table(block, self._names)
        features, targets = [], []
        for start in range(0, table.num_rows, _CHUNK):
            part = table.slice(start, _CHUNK)
            values = {name: raw_values(part.column(name)) for name in self._names}

            def place(row: int, start: int = start) -> str:
                return self._shards.place(block, start + row)

            targets.append(self._targets(values[self._target], place))
            features.append(self._codec.features(self._read(values, place)))
        return concatenate(features), np.concatenate(targets)

    def _read(self, values: Mapping[str, Sequence[Raw]], place: object) -> Arrays:
        decoded = read_columns(values, self._columns)
        if decoded.faults:
            fault = decoded.faults[0]
            assert callable(place)
            raise DataError(
                f"column '{fault.column}': a value doesn't fit",
                where=place(fault.row),
                expected=fault.expected,
                received=fault.received,
                hint="mend the shard",
            )
        return decoded.tensors


def _rows(shards: ParquetShards, chosen: Sequence[tuple[int, np.ndarray]], name: str) -> RawTable:
    """Return some rows of shards as a raw table."""
    columns: dict[str, list[Raw]] = {column: [] for column in shards.columns}
    ids: list[str] = []
    for block, rows in chosen:
        table = shards.table(block, shards.columns).take(rows)
        for column, values in columns.items():
            values += raw_values(table.column(column))
        ids += [shards.row_id(block, row) for row in rows.tolist()]
    return RawTable(name, columns, ids)


def _whole(text: str, base: Path, spec: DataSpec, split: str) -> RawTable:
    """Return a split that must fit into memory: shards, or one table of any kind."""
    where = f"data.files.{split}"
    path = None if is_pattern(text) else locate(text, base)
    if path is not None and path.is_file() and path.suffix.lower() not in (".parquet", ".pq"):
        return read_table(path, spec)
    paths, kind = find_shards(text, base, where)
    if kind != PARQUET:
        raise DataError("a table is read from Parquet shards", where=where, received=paths[0].name)
    shards = ParquetShards(paths)
    rows = sum(block.rows for block in shards.blocks)
    if not rows:
        raise DataError("the shards have no rows", where=where, received=text)
    check_fits(rows * len(shards.columns) * _VALUE_BYTES, rows, where)
    chosen = [(number, np.arange(block.rows)) for number, block in enumerate(shards.blocks)]
    return _rows(shards, chosen, f"{counted(len(paths), 'shard')} of {text}")

"""Parquet shards: a block is a row group; the footers are the index, so that any block is one read."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.codecs.codec import Payload
from bedplate.codecs.columns import Raw
from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.core.hashing import fingerprint
from bedplate.data.shards import Block, Shard
from bedplate.data.tables import is_pandas_index, raw_values
from bedplate.recipe.schema import ImageSpec


def _footer_digest(path: Path) -> str:
    """Return the SHA-256 of a Parquet footer: schema, row counts, each column's place and statistics."""
    with path.open("rb") as file:
        file.seek(-8, 2)
        length = struct.unpack("<I", file.read(4))[0]
        file.seek(-8 - length, 2)
        return hashlib.sha256(file.read(length)).hexdigest()


class ParquetShards:
    """Row groups of Parquet files with equal columns.

    Attributes:
        shards: the files.
        blocks: the row groups that hold rows, in the files' order.
        columns: the top-level columns' names.
        schema: Arrow's.
        fingerprint: of the files' names, sizes and footers.

    Raises:
        DataError: a file is no Parquet, or its columns differ from the first one's.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        import pyarrow
        import pyarrow.parquet

        self.shards = [Shard.of(path) for path in paths]
        self.blocks: list[Block] = []
        self._metadata: list[Any] = []
        self.schema: Any = None
        digests = []
        for number, path in enumerate(paths):
            try:
                with pyarrow.parquet.ParquetFile(path) as file:
                    metadata, schema = file.metadata, file.schema_arrow
                digests.append([path.name, self.shards[number].size, _footer_digest(path)])
            except (pyarrow.ArrowException, OSError) as error:
                raise DataError(
                    "not a readable Parquet file", where=str(path), received=str(error).splitlines()[0]
                ) from error
            if self.schema is None:
                self.schema = schema
            elif not self.schema.equals(schema):
                raise DataError(
                    f"the columns differ from those of {paths[0].name}",
                    where=str(path),
                    expected=listing(f"{field.name}: {field.type}" for field in self.schema),
                    received=listing(f"{field.name}: {field.type}" for field in schema),
                )
            self._metadata.append(metadata)
            first = 0
            for part in range(metadata.num_row_groups):
                group = metadata.row_group(part)
                if group.num_rows:
                    self.blocks.append(Block(number, part, first, group.num_rows, group.total_byte_size))
                first += group.num_rows
        names: list[str] = list(self.schema.names)
        if len(set(names)) != len(names):
            raise DataError("two columns have the same name", where=str(paths[0]), received=listing(names))
        self.columns = [name for name in names if not is_pandas_index(name)]
        self.fingerprint = fingerprint(digests)

    def place(self, block: int, row: int) -> str:
        """Return where a block's row lies, for a message."""
        one = self.blocks[block]
        return f"{self.shards[one.shard].path}, row {one.first + row + 1}"

    def row_id(self, block: int, row: int) -> str:
        """Return a row's id: file and row, from 1."""
        one = self.blocks[block]
        return f"{self.shards[one.shard].path.name}:{one.first + row + 1}"

    def table(self, block: int, columns: Sequence[str]) -> Any:
        """Return a row group's columns as an Arrow table.

        Raises:
            DataError: the file changed since it was indexed, or is damaged.
        """
        import pyarrow
        import pyarrow.parquet

        one = self.blocks[block]
        shard = self.shards[one.shard]
        shard.check()
        try:
            # One thread: training has the others, and would wait for them.
            with pyarrow.parquet.ParquetFile(shard.path, metadata=self._metadata[one.shard], memory_map=False) as file:
                return file.read_row_group(one.part, columns=list(columns), use_threads=False)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                "a row group can't be read",
                where=f"{shard.path}, row group {one.part}",
                received=str(error).splitlines()[0],
            ) from error


class ParquetImages:
    """Images in Parquet shards: a column of encoded images or of raw pixels, and a column of labels.

    The image column is `binary` (files such as PNG and JPEG, or raw pixels), a struct with `bytes` (as the datasets
    library writes it), or raw pixels as fixed-size binary or a fixed-size list of uint8. Raw pixels are rows from the
    top, channels last, of `data.image`'s height and width.

    Raises:
        DataError: no such columns, or raw pixels of an unknown size.
    """

    def __init__(self, shards: ParquetShards, image: str | None, label: str | None, spec: ImageSpec) -> None:
        self.shards = shards
        self.blocks, self.place, self.row_id = shards.blocks, shards.place, shards.row_id
        self.label = _pick(shards, label, ("label", "class", "target"), "data.target", "the column of labels")
        kinds = [field.name for field in shards.schema if _image_like(field.type)]
        self.image = _pick(shards, image, kinds if len(kinds) == 1 else (), "data.stream.image", "the column of images")
        self._spec = spec
        kind = shards.schema.field(self.image).type
        if not _image_like(kind):
            raise DataError(
                "not a column of images",
                where=f"data.stream.image: {self.image}",
                expected="binary, a struct with bytes, fixed-size binary, or a fixed-size list of uint8",
                received=str(kind),
            )
        self._shape = self._raw_shape(kind)

    def _raw_shape(self, kind: Any) -> tuple[int, int, int] | None:
        """Return [H,W,C] of raw pixels, or None where the column holds image files."""
        import pyarrow

        from bedplate.codecs.pixels import inspect
        from bedplate.core.errors import PayloadError

        types = pyarrow.types
        if types.is_fixed_size_list(kind):
            size = kind.list_size
        elif types.is_fixed_size_binary(kind):
            size = kind.byte_width
        else:
            table = self.shards.table(0, [self.image]).slice(0, 1)
            data = _files(table.column(self.image))[0] or b""
            try:
                inspect(data)
                return None
            except PayloadError:
                height, width = self._spec.height, self._spec.width
                if height is None or width is None or len(data) not in (height * width, 3 * height * width):
                    return None  # neither an image nor raw pixels: decoding will name the row and the fault
            size = len(data)
        if self._spec.height is None or self._spec.width is None:
            raise DataError(
                "raw pixels don't say their size",
                where="data.image",
                expected="height and width",
                received=f"{size} bytes a row in column {self.image}",
                hint="set data.image: {height: …, width: …}",
            )
        area = self._spec.height * self._spec.width
        if size not in (area, 3 * area):
            raise DataError(
                "raw pixels of another size",
                where=f"column {self.image}",
                expected=f"{area} or {3 * area} bytes for data.image {self._spec.height}x{self._spec.width}",
                received=f"{size} bytes a row",
            )
        return self._spec.height, self._spec.width, size // area

    def read(self, block: int, rows: np.ndarray | None = None) -> tuple[np.ndarray | list[Payload], list[Raw]]:
        """Return the payloads (raw pixels as uint8 [N,H,W,C]) and labels of a block, or of some of its rows."""
        table = self.shards.table(block, list({self.image, self.label}))
        if rows is not None:
            table = table.take(rows)
        labels: list[Raw] = raw_values(table.column(self.label))
        column = table.column(self.image)
        if self._shape is None:
            return _files(column), labels
        return self._pixels(block, column), labels

    def _pixels(self, block: int, column: Any) -> np.ndarray:
        import pyarrow

        assert self._shape is not None
        size = int(np.prod(self._shape))
        column = column.combine_chunks()
        column = column.chunk(0) if isinstance(column, pyarrow.ChunkedArray) else column
        if column.null_count:
            raise DataError("the image is missing", where=self.place(block, column.is_null().to_pylist().index(True)))
        if pyarrow.types.is_fixed_size_list(column.type):
            flat = column.flatten().to_numpy(zero_copy_only=False)
        elif pyarrow.types.is_fixed_size_binary(column.type):
            flat = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * size :]
        else:
            wide = pyarrow.types.is_large_binary(column.type)
            ends = np.frombuffer(column.buffers()[1], np.int64 if wide else np.int32)[column.offset :][
                : len(column) + 1
            ]
            wrong = np.flatnonzero(np.diff(ends) != size)
            if len(wrong):
                raise DataError(
                    "raw pixels of another size",
                    where=self.place(block, int(wrong[0])),
                    expected=f"{size} bytes",
                    received=f"{int(np.diff(ends)[wrong[0]])} bytes",
                )
            flat = np.frombuffer(column.buffers()[2], np.uint8)[ends[0] :]
        pixels: np.ndarray = flat[: len(column) * size].reshape(len(column), *self._shape)
        return pixels


def _image_like(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _image_like(kind.field("bytes").type)
    if types.is_fixed_size_list(kind):
        return bool(types.is_uint8(kind.value_type))
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _files(column: Any) -> list[Payload]:
    """Return encoded images as bytes."""
    values = column.to_pylist()
    return [value["bytes"] if isinstance(value, dict) else value for value in values]


def _pick(shards: ParquetShards, named: str | None, usual: Sequence[str], where: str, what: str) -> str:
    """Return the column that the recipe names, or else the usual one."""
    if named is None:
        for name in usual:
            if name in shards.columns:
                return name
    if named is None or named not in shards.columns:
        raise DataError(
            f"which is {what}?" if named is None else f"there is no column '{named}'",
            where=where,
            expected=f"one of {listing(shards.columns)}",
            hint=did_you_mean(named, shards.columns) if named else f"name it in {where}",
        )
    return named

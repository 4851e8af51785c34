"""WebDataset shards: tars whose consecutive members `key.png`, `key.cls` make a row; any stretch of one is one read.

The index is made once by going over the tars' headers and is held in memory; nothing is written beside the data.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.codecs.codec import Payload
from bedplate.codecs.columns import Raw
from bedplate.codecs.files import is_junk
from bedplate.core.errors import DataError, json_kind, listing
from bedplate.core.hashing import fingerprint
from bedplate.data.shards import Block, Shard

IMAGE_ENDINGS = ("png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "npy")
JSON, CLASS = "json", "cls"
SEGMENT_BYTES, SEGMENT_ROWS = 1 << 20, 512
"""A block ends before it is larger than this: one read that a disk serves well, and small beside a window."""


def split_name(name: str) -> tuple[str, str]:
    """Return (key, ending) of a member: its path up to the first dot of its last part, and what follows that dot."""
    folder, slash, last = name.rpartition("/")
    key, _, ending = last.partition(".")
    return f"{folder}{slash}{key}", ending.lower()


@dataclass(frozen=True)
class _Index:
    """One tar: for each row the image's and the label's place and size, int64 [rows] each."""

    image: np.ndarray
    image_size: np.ndarray
    label: np.ndarray
    label_size: np.ndarray
    digest: str
    image_ending: str


class TarImages:
    """Images in WebDataset shards.

    Attributes:
        shards: the files.
        blocks: consecutive rows of about a MiB.
        fingerprint: of the files' names, sizes and every header in them.

    Raises:
        DataError: a file is no tar, or a row lacks its image or its label.
    """

    def __init__(self, paths: Sequence[Path], image: str | None, label: str | None) -> None:
        self.shards = [Shard.of(path) for path in paths]
        self.blocks: list[Block] = []
        self._image, self._label = image, label
        self._ending, self._field = _label_member(paths[0], label)
        self._index: list[_Index] = []
        for number, path in enumerate(paths):
            index = self._read_index(path)
            self._index.append(index)
            bounds = _segments(index)
            self.blocks += [
                Block(number, part, first, last - first, int(_end(index, last - 1) - _begin(index, first)))
                for part, (first, last) in enumerate(pairwise(bounds))
            ]
        names = [
            [shard.path.name, shard.size, index.digest] for shard, index in zip(self.shards, self._index, strict=True)
        ]
        self.fingerprint = fingerprint(names)

    def _read_index(self, path: Path) -> _Index:
        found: dict[str, tuple[int, int]] = {}
        rows: list[tuple[int, int, int, int]] = []
        digest = hashlib.sha256()
        current, ending = "", ""

        def close() -> None:
            nonlocal ending
            if not found:
                return
            names = [one for one in found if one == self._image or (self._image is None and one in IMAGE_ENDINGS)]
            if len(names) != 1 or self._ending not in found:
                lacks = f"its image {'.' + self._image if self._image else ''}".rstrip()
                raise DataError(
                    "a row has several images: name one in data.stream.image" if len(names) > 1
                    else f"a row lacks {lacks if not names else 'its label .' + self._ending}",
                    where=f"{path}, row {len(rows) + 1} ('{current}')",
                    expected=f"one image (.{self._image or ', .'.join(IMAGE_ENDINGS)}) and .{self._ending}",
                    received=listing(f".{one}" for one in found),
                )  # fmt: skip
            ending = names[0]
            rows.append((*found[ending], *found[self._ending]))

        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if not member.isreg() or is_junk(member.name.split("/")[-1:]):
                        continue
                    digest.update(f"{member.name}\0{member.size}\0{member.mtime}\0{member.offset_data}\n".encode())
                    key, kind = split_name(member.name)
                    if key != current:
                        close()
                        found, current = {}, key
                    found[kind] = (member.offset_data, member.size)
                    archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                close()
                end = archive.offset
            with path.open("rb") as file:
                file.seek(end)
                if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end
                    raise tarfile.ReadError(f"cut short or damaged at byte {end:,}")
        except (tarfile.TarError, OSError) as error:
            raise DataError("not a readable tar", where=str(path), received=str(error)) from error
        if not rows:
            raise DataError("no rows in the tar", where=str(path), expected=f"members key.png and key.{self._ending}")
        table = np.array(rows, np.int64).T
        return _Index(table[0].copy(), table[1].copy(), table[2].copy(), table[3].copy(), digest.hexdigest(), ending)

    def place(self, block: int, row: int) -> str:
        """Return where a block's row lies, for a message."""
        one = self.blocks[block]
        return f"{self.shards[one.shard].path}, row {one.first + row + 1}"

    def row_id(self, block: int, row: int) -> str:
        """Return a row's id: file and row, from 1."""
        one = self.blocks[block]
        return f"{self.shards[one.shard].path.name}:{one.first + row + 1}"

    def read(self, block: int, rows: np.ndarray | None = None) -> tuple[np.ndarray | list[Payload], list[Raw]]:
        """Return the payloads (arrays of one shape as uint8 [N,H,W,C]) and labels of a block, or of some of its rows.

        Raises:
            DataError: the file changed since it was indexed, or a label or array can't be read; it names file and row.
        """
        one = self.blocks[block]
        shard, index = self.shards[one.shard], self._index[one.shard]
        shard.check()
        start = int(_begin(index, one.first))
        try:
            with shard.path.open("rb") as file:
                file.seek(start)
                data = memoryview(file.read(one.stored))
        except OSError as error:
            raise DataError("the shard can't be read", where=str(shard.path), received=error.strerror) from error
        if len(data) != one.stored:
            raise DataError("the shard is cut short", where=str(shard.path))
        payloads: list[Payload] = []
        labels: list[Raw] = []
        for row in range(one.rows) if rows is None else rows.tolist():
            place = one.first + row
            image = _piece(data, int(index.image[place]) - start, int(index.image_size[place]))
            text = _piece(data, int(index.label[place]) - start, int(index.label_size[place]))
            try:
                payloads.append(_array(image) if index.image_ending == "npy" else image)
                labels.append(self._read_label(text))
            except ValueError as error:
                raise DataError("a row can't be read", where=self.place(block, row), received=str(error)) from error
        return _stacked(payloads) if index.image_ending == "npy" else payloads, labels

    def _read_label(self, data: bytes) -> Raw:
        if self._field is None:
            return data.decode().strip()
        found = json.loads(data)
        if not isinstance(found, dict) or self._field not in found:
            known = listing(found) if isinstance(found, dict) else json_kind(found)
            raise ValueError(f"the JSON has no '{self._field}' but {known}")
        return found[self._field]


def _piece(data: memoryview, start: int, size: int) -> bytes:
    return bytes(data[start : start + size])


def _begin(index: _Index, row: int) -> int:
    return min(int(index.image[row]), int(index.label[row]))


def _end(index: _Index, row: int) -> int:
    return max(int(index.image[row] + index.image_size[row]), int(index.label[row] + index.label_size[row]))


def _segments(index: _Index) -> list[int]:
    """Return the first rows of the segments, and the number of rows."""
    begins = np.minimum(index.image, index.label).tolist()
    ends = np.maximum(index.image + index.image_size, index.label + index.label_size).tolist()
    bounds = [0]
    for row in range(1, len(begins)):
        if ends[row] - begins[bounds[-1]] > SEGMENT_BYTES or row - bounds[-1] >= SEGMENT_ROWS:
            bounds.append(row)
    return [*bounds, len(begins)]


def _array(data: bytes) -> np.ndarray:
    """Return the array in a .npy member; objects, which could run code, are refused."""
    length = 10 + int.from_bytes(data[8:10], "little")
    dtype, shape = _npy_header(data[:length])
    return np.frombuffer(data, dtype, offset=length).reshape(shape)


@lru_cache(maxsize=64)
def _npy_header(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return (dtype, shape) of a .npy header; the members of a set have few different ones."""
    if not header.startswith(b"\x93NUMPY\x01\x00"):
        raise ValueError("not a .npy array of format 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(header[8:]))
    if dtype.hasobject or fortran:
        raise ValueError(f"an array of {dtype}{' in Fortran order' if fortran else ''}; write uint8 in C order")
    return dtype, shape


def _stacked(arrays: list[Payload]) -> np.ndarray | list[Payload]:
    """Return images of one shape as one array."""
    first = arrays[0]
    if first.ndim not in {2, 3} or any(one.shape != first.shape or one.dtype != np.uint8 for one in arrays):
        return arrays
    return np.stack(arrays).reshape(len(arrays), *first.shape[:2], -1)


def _label_member(path: Path, label: str | None) -> tuple[str, str | None]:
    """Return (ending, JSON field) of the label: the member `key.LABEL`, or the field LABEL of `key.json`."""
    kinds: dict[str, Any] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            first = None
            for member in archive:
                if not member.isreg() or is_junk(member.name.split("/")[-1:]):
                    continue
                key, kind = split_name(member.name)
                if first is not None and key != first:
                    break
                first = key
                file = archive.extractfile(member) if kind == JSON else None
                kinds[kind] = json.load(file) if file else None
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError("not a readable tar of rows", where=str(path), received=str(error)) from error
    if label is None:
        label = (
            CLASS
            if CLASS in kinds
            else next((one for one in ("label", CLASS, "class") if one in (kinds.get(JSON) or {})), None)
        )
    if label is not None and label in kinds:
        return label, None
    if label is not None and JSON in kinds:
        return JSON, label
    raise DataError(
        "which member is the label?" if label is None else f"the rows have no member .{label} and no .json",
        where=f"data.target in {path.name}",
        expected=listing(f".{one}" for one in kinds) or "members of one row",
        hint="set data.target to a member's ending (cls) or to a field of its .json",
    )

"""Streamed images: training rows stay in their shards; a sample of them, validation and test are in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from bedplate.codecs.codec import Payload
from bedplate.codecs.columns import Raw
from bedplate.codecs.files import natural
from bedplate.codecs.image import IMAGE, ImageCodec
from bedplate.codecs.pixels import ImageFacts, inspect
from bedplate.core.arrays import Arrays
from bedplate.core.errors import DataError, PayloadError
from bedplate.core.hashing import fingerprint
from bedplate.data.dataset import Dataset
from bedplate.data.download import Announce
from bedplate.data.image_files import choose_size
from bedplate.data.image_pool import ImagePool
from bedplate.data.images import TARGET, load_images
from bedplate.data.parquet_shards import ParquetImages, ParquetShards
from bedplate.data.shard_order import spread_over
from bedplate.data.shards import PARQUET, Block, Shard, find_shards
from bedplate.data.stream_targets import LabelReader, Place
from bedplate.data.streamed import asked, check_fits, open_stream, with_stream
from bedplate.data.tar_shards import TarImages
from bedplate.data.targets import read_labels
from bedplate.recipe.schema import ColumnSpec, DataSpec

_HEADERS = 2000
"""Images whose headers decide on the size."""

_SAMPLE_BYTES = 256 << 20


class ImageSource(Protocol):
    """Shards of images: blocks of payloads with labels."""

    blocks: list[Block]

    def read(self, block: int, rows: np.ndarray | None = None) -> tuple[np.ndarray | list[Payload], list[Raw]]:
        """Return the payloads and raw labels of a block, or of some of its rows."""

    def place(self, block: int, row: int) -> str:
        """Return where a row lies, for a message."""

    def row_id(self, block: int, row: int) -> str:
        """Return a row's id."""


def load_streamed_images(spec: DataSpec, seed: int, *, base: Path, announce: Announce) -> Dataset:
    """Return the images of shards as a dataset with a stream; see `bedplate.data.load.load_dataset`.

    Raises:
        DataError: no shards, shards that can't be read, or a request that a stream can't meet.
    """
    files, stream = asked(spec)
    sources: dict[str, ImageSource] = {}
    shards: dict[str, list[Shard]] = {}
    prints: dict[str, str] = {}
    for split, text in files.model_dump().items():
        paths, kind = find_shards(text, base, f"data.files.{split}")
        announce(f"indexing {len(paths):,} {kind} shard{'' if len(paths) == 1 else 's'} of {text}")
        sources[split], shards[split], prints[split] = _open(paths, kind, spec)
        if not sources[split].blocks:
            raise DataError("the shards have no rows", where=f"data.files.{split}", received=text)
    train = sources["train"]
    pool = _pool(sources, spec, shards["train"][0].path.resolve().parent.name or "shards")
    dataset = load_images(spec, seed, base=base, announce=announce, pool=pool)
    codec = dataset.codec
    assert isinstance(codec, ImageCodec)
    assert dataset.answers.labels is not None
    labels = LabelReader(dataset.answers.labels, TARGET, _label_spec(spec))

    def read(block: int) -> tuple[Arrays, np.ndarray]:
        payloads, raw = train.read(block)
        targets = labels(raw, lambda row: train.place(block, row))
        return {IMAGE: decode(codec, payloads, lambda row: train.place(block, row))}, targets

    made = open_stream(
        train.blocks,
        shards["train"],
        read,
        stream,
        codec.height * codec.width * codec.channels,
        fingerprint({"shards": prints["train"], "codec": codec.contract(), "labels": list(dataset.answers.labels)}),
    )
    return with_stream(dataset, made, shards["train"], files.train)


def _label_spec(spec: DataSpec) -> ColumnSpec:
    return spec.columns.get(spec.target or TARGET, ColumnSpec())


def _open(paths: Sequence[Path], kind: str, spec: DataSpec) -> tuple[ImageSource, list[Shard], str]:
    assert spec.stream is not None
    if kind == PARQUET:
        shards = ParquetShards(paths)
        if not shards.blocks:
            raise DataError("the shards have no rows", where=str(paths[0]))
        return ParquetImages(shards, spec.stream.image, spec.target, spec.image), shards.shards, shards.fingerprint
    tars = TarImages(paths, spec.stream.image, spec.target)
    return tars, tars.shards, tars.fingerprint


def decode(codec: ImageCodec, payloads: Sequence[Payload] | np.ndarray, place: Place) -> np.ndarray:
    """Return payloads as the codec decodes them everywhere, uint8 [N,H,W,C].

    Raises:
        DataError: an image can't be decoded; it names file and row.
    """
    shape = (codec.height, codec.width, codec.channels)
    if isinstance(payloads, np.ndarray) and payloads.shape[1:] == shape:
        return payloads  # to which the codec would do nothing
    pixels = np.empty((len(payloads), *shape), np.uint8)
    for row, payload in enumerate(payloads):
        try:
            pixels[row] = codec.decode_one(payload)
        except PayloadError as error:
            raise _at(error, place(row)) from error
    return pixels


def _at(error: PayloadError, where: str) -> DataError:
    return DataError(error.what, where=where, expected=error.expected, received=error.received, hint="mend the shard")


def _facts(payloads: Sequence[Payload] | np.ndarray, place: Place) -> list[ImageFacts]:
    """Return what the headers of payloads say."""
    if isinstance(payloads, np.ndarray):
        return [inspect(payloads[0])] * len(payloads) if len(payloads) else []
    found = []
    for row, payload in enumerate(payloads):
        try:
            found.append(inspect(payload))
        except PayloadError as error:
            raise _at(error, place(row)) from error
    return found


@dataclass
class _Gathered:
    """Rows in memory, split by split."""

    pixels: list[np.ndarray] = field(default_factory=list)
    labels: list[Raw] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    facts: list[ImageFacts] = field(default_factory=list)

    def add(self, split: str, source: ImageSource, block: int, rows: np.ndarray, codec: ImageCodec) -> None:
        """Decode some rows of a block."""
        payloads, labels = source.read(block, None if len(rows) == source.blocks[block].rows else rows)
        place = _places(source, block, rows)
        self.pixels.append(decode(codec, payloads, place))
        self.facts += _facts(payloads, place)
        self.labels += labels
        prefix = "" if split == "train" else f"{split}/"
        self.ids += [prefix + source.row_id(block, row) for row in rows.tolist()]
        self.splits += [split] * len(rows)


def _places(source: ImageSource, block: int, rows: np.ndarray) -> Place:
    return lambda row: source.place(block, int(rows[row]))


def _pool(sources: Mapping[str, ImageSource], spec: DataSpec, name: str) -> ImagePool:
    """Return a sample of the training rows and the other splits, decoded: what `load_images` goes on with."""
    assert spec.stream is not None
    train = sources["train"]
    sizes = [block.rows for block in train.blocks]
    seen: list[ImageFacts] = []
    for block, rows in spread_over(sizes, min(spec.stream.sample, _HEADERS)):
        seen += _facts(train.read(block, rows)[0], _places(train, block, rows))
    height, width, channels, reasons = choose_size(seen, spec.image)
    codec = ImageCodec(height, width, channels, spec.image.resize)
    row_bytes = height * width * channels
    gathered = _Gathered()
    for block, rows in spread_over(sizes, max(1, min(spec.stream.sample, _SAMPLE_BYTES // row_bytes))):
        gathered.add("train", train, block, rows, codec)
    for split in ("validation", "test"):
        source = sources[split]
        total = sum(block.rows for block in source.blocks)
        check_fits(total * row_bytes, total, f"data.files.{split}")
        for number, one in enumerate(source.blocks):
            gathered.add(split, source, number, np.arange(one.rows), codec)
    read = read_labels(gathered.labels, spec.target or TARGET, _label_spec(spec))
    bad = [*read.missing.tolist(), *read.faults]
    if bad:
        raise DataError("the label is missing", where=gathered.ids[min(bad)], hint="mend the shard")
    splits = np.asarray(gathered.splits)
    order = tuple(sorted(set(read.values.tolist()), key=natural))
    pixels = np.concatenate(gathered.pixels)
    return ImagePool(name, pixels, read.values, gathered.ids, splits, gathered.facts, order, reasons)

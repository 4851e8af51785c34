"""What streamed tables and streamed images have in common: what a recipe may ask for, what fits, and the notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bedplate.core.errors import DataError
from bedplate.core.hashing import fingerprint
from bedplate.core.machine import memory_limit
from bedplate.data.dataset import Dataset
from bedplate.data.shards import Block, Shard, too_large
from bedplate.data.stream import ReadBlock, ShardStream
from bedplate.data.tables import counted
from bedplate.recipe.schema import DataSpec, FilesSpec, StreamSpec

_SHARE = 4
"""Validation and test rows may take one part in so many of the memory."""


def asked(spec: DataSpec) -> tuple[FilesSpec, StreamSpec]:
    """Return the recipe's files and stream.

    Raises:
        DataError: it asks for something that rows on disk can't give.
    """
    assert spec.stream is not None
    files = spec.files
    if files is None or files.validation is None or files.test is None:
        raise DataError(
            "a stream needs its three splits named",
            where="data.files",
            expected="train, validation and test",
            received="data.source" if files is None else "train" + (" and test" if files.test else ""),
            hint="rows can't be set aside from a stream: name other shards for validation and test",
        )
    refused = {
        "data.limit": spec.limit is not None,
        "data.split.folds": spec.split.folds is not None,
        "data.on_bad_row: skip": spec.on_bad_row == "skip",
    }
    for key, given in refused.items():
        if given:
            raise DataError(
                "a stream takes every row of its shards, in an order that is fixed beforehand",
                where=key,
                hint=f"leave out {key.partition(':')[0]}, or data.stream",
            )
    return files, spec.stream


def check_fits(size: int, rows: int, where: str) -> None:
    """Refuse a validation or test split of `size` bytes that would not fit into memory."""
    granted = memory_limit()
    if granted is not None and size > granted // _SHARE:
        raise DataError(
            "this split must fit into memory; only the training rows are streamed",
            where=where,
            expected=f"at most {granted // _SHARE / 2**20:,.0f} MiB, a quarter of what the machine grants",
            received=f"{rows:,} rows of {size / 2**20:,.0f} MiB",
            hint="name fewer shards",
        )


def open_stream(
    blocks: Sequence[Block], shards: Sequence[Shard], read: ReadBlock, spec: StreamSpec, row_bytes: int, identity: str
) -> ShardStream:
    """Return the stream of blocks whose decoded rows have `row_bytes` each.

    Raises:
        DataError: a block is larger than a window.
    """
    window_rows = spec.window_mib * 2**20 // row_bytes
    largest = max(blocks, key=lambda block: block.rows)
    if largest.rows > window_rows:
        raise too_large(largest, shards, window_rows, spec.window_mib, row_bytes)
    return ShardStream([block.rows for block in blocks], window_rows, read, fingerprint=identity, row_bytes=row_bytes)


def with_stream(dataset: Dataset, stream: ShardStream, shards: Sequence[Shard], where: str) -> Dataset:
    """Return the dataset, whose training rows are a sample, with the stream and what is to be said of it."""
    windows = stream.order(0, 0).windows
    size = sum(shard.size for shard in shards)
    sample = len(dataset.train)
    notes = [
        f"streamed: {len(stream):,} training rows in {counted(len(shards), 'shard')} of {where} ({size / 1e9:,.2f} GB)",
        f"the schema, the codec, the profile, the baselines and the calibration of compressed variants come from a "
        f"sample of {sample:,} of them, spread evenly over the shards",
        "the whole set fits into one window, so an epoch's order is a permutation of all rows"
        if windows == 1
        else f"an epoch shuffles blocks, and then rows within windows of up to {stream.window_rows:,} rows",
    ]
    return replace(
        dataset,
        stream=stream,
        fingerprint=fingerprint({"sample": dataset.fingerprint, "stream": stream.fingerprint}),
        notes=[*notes, *dataset.notes],
    )

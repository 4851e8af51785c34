"""Shards: the files of a dataset that is larger than memory, cut into blocks that are read whole."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bedplate.codecs.files import natural
from bedplate.core.errors import DataError, did_you_mean, listing

PARQUET, TAR = "parquet", "tar"
KINDS = {".parquet": PARQUET, ".pq": PARQUET, ".tar": TAR}


@dataclass(frozen=True)
class Shard:
    """One file, as it was when it was indexed."""

    path: Path
    size: int
    changed: int
    """When it was last written (nanoseconds)."""

    @classmethod
    def of(cls, path: Path) -> Shard:
        """Return the shard at `path`."""
        try:
            facts = path.stat()
        except OSError as error:
            raise DataError("the shard can't be read", where=str(path), received=error.strerror) from error
        return cls(path, facts.st_size, facts.st_mtime_ns)

    def check(self) -> None:
        """Refuse to go on where the file is gone, or is another one than was indexed.

        Raises:
            DataError: it names the shard.
        """
        try:
            facts = self.path.stat()
        except OSError as error:
            raise DataError(
                "a shard went missing while it was streamed",
                where=str(self.path),
                received=error.strerror,
                hint="put it back and continue with --resume",
            ) from error
        if (facts.st_size, facts.st_mtime_ns) != (self.size, self.changed):
            raise DataError(
                "a shard was changed while it was streamed",
                where=str(self.path),
                expected=f"{self.size:,} bytes, as when the run began",
                received=f"{facts.st_size:,} bytes" + (", written anew" if facts.st_size == self.size else ""),
                hint="restore it and continue with --resume, or start again with --fresh",
            )


@dataclass(frozen=True)
class Block:
    """Rows that are read together: a Parquet row group, or a stretch of a tar.

    `shard` and `part` say where it lies; its first row is number `first` (from 0) of its file; `stored` are its bytes
    there, uncompressed.
    """

    shard: int
    part: int
    first: int
    rows: int
    stored: int


def is_pattern(text: str) -> bool:
    """Whether a recipe's text is a pattern of file names rather than a path."""
    return bool(re.search(r"[*?\[]", text))


def find_shards(text: str, base: Path, where: str) -> tuple[list[Path], str]:
    """Return the shards that a recipe names (a pattern, a folder or a file; `~` and `$NAME` expanded), and their kind.

    Raises:
        DataError: there are none, or not all are Parquet files or all tars.
    """
    expanded = str(Path(os.path.expandvars(text)).expanduser())
    path = (base / expanded).absolute()
    if path.is_dir():
        found = [one for one in path.iterdir() if one.suffix.lower() in KINDS and not one.name.startswith(".")]
    elif path.exists() or not is_pattern(expanded):
        found = [path]
    else:
        top = Path(path.anchor)
        found = list(top.glob(str(path.relative_to(top))))
    found = sorted((one for one in found if one.is_file()), key=lambda one: natural(str(one)))
    if not found:
        unset = re.search(r"\$\{?(\w+)\}?", expanded)
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(
            "no shards",
            where=f"{where}: {path}",
            expected="Parquet files or tars: a pattern such as shards/train-*.parquet, a folder, or a file",
            hint=f"the variable ${unset[1]} is not set" if unset else did_you_mean(path.name, beside),
        )
    kinds = {KINDS.get(one.suffix.lower()) for one in found}
    if len(kinds) > 1 or None in kinds:
        packed = next((one.name for one in found if re.search(r"\.(tar\.\w+|tgz)$", one.name.lower())), None)
        raise DataError(
            "not shards of one kind that can be streamed",
            where=f"{where}: {path}",
            expected="either .parquet files or .tar files",
            received=listing([one.name for one in found], 6),
            hint="a compressed tar can't be entered in the middle: unpack it to .tar" if packed else None,
        )
    return found, str(kinds.pop())


def too_large(block: Block, shards: Sequence[Shard], window_rows: int, window_mib: int, row_bytes: int) -> DataError:
    """Return the error for a block that is larger than a window."""
    path = shards[block.shard].path
    remedy = "write the shards with smaller row groups" if path.suffix.lower() != ".tar" else "make smaller images"
    enough = -(-block.rows * row_bytes // 2**20)
    return DataError(
        "a block of rows is larger than the window that is held in memory",
        where=f"{path}, row group {block.part}",
        expected=f"at most {window_rows:,} rows ({window_mib} MiB of {row_bytes:,} bytes a row)",
        received=f"{block.rows:,} rows",
        hint=f"{remedy} (at most {window_rows:,} rows), or set data.stream.window_mib: {enough} and have the memory",
    )

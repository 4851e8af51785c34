"""Rows for a tensor codec from a file or standard input: `.npz`, `.npy`, or JSON."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bedplate.codecs.codec import Payload
from bedplate.codecs.rows import content_of, json_rows
from bedplate.core.errors import DataError, PayloadError


def read_tensors(source: Path | bytes, name: str | None = None) -> Iterator[tuple[str, Payload]]:
    """Yield (`name:row`, payload) for every row of a file or of its bytes; which form it is shows in its first bytes.

    `.npz` holds an array an input and `.npy` the only input's array, rows on the first axis; JSON is a list of rows,
    one row that is an object, or one row a line.

    Raises:
        PayloadError: it can't be read, or its arrays have different numbers of rows.
    """
    content, name = content_of(source, name)
    if content[:4] == b"PK\x03\x04" or content[:6] == b"\x93NUMPY":
        yield from _arrays(content, name)
        return
    try:
        for line, row in json_rows(content, name, None):
            yield f"{name}:{line}", row
    except DataError as error:
        raise PayloadError(error.what, where=error.where, received=error.received, hint=error.hint) from error


def _arrays(data: bytes, name: str) -> Iterator[tuple[str, Payload]]:
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(found, np.ndarray):
            for row, array in enumerate(found if found.ndim else [], start=1):
                yield f"{name}:{row}", array
            return
        with found:
            arrays = {key: found[key] for key in found.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise PayloadError("not readable arrays", where=name, received=str(error)[:200]) from error
    sizes = {key: len(array) if array.ndim else 0 for key, array in arrays.items()}
    if len(set(sizes.values())) != 1:
        raise PayloadError("the arrays need equally many rows on their first axes", where=name, received=str(sizes))
    for row in range(next(iter(sizes.values()))):
        yield f"{name}:{row + 1}", {key: array[row] for key, array in arrays.items()}

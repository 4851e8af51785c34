"""Fingerprints: SHA-256 of files, JSON and arrays."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


def sha256_bytes(data: bytes) -> str:
    """Return the hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of `value`: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def fingerprint(value: Any) -> str:
    """Return the hex SHA-256 of a JSON value's canonical text."""
    return sha256_bytes(canonical_json(value))


def array_digest(array: np.ndarray) -> str:
    """Return the hex SHA-256 of an array's dtype, shape and content (strings included)."""
    digest = hashlib.sha256(f"{array.dtype.kind}{array.shape}".encode())
    if array.dtype.kind in "OUS":
        for item in array.ravel():
            digest.update(str(item).encode())
            digest.update(b"\0")
    else:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def row_digests(arrays: dict[str, np.ndarray]) -> list[str]:
    """Return one digest a row over all arrays (by name), to find exact duplicates."""
    names = sorted(arrays)
    rows = len(arrays[names[0]])
    contiguous = {name: np.ascontiguousarray(arrays[name]) for name in names}
    digests = []
    for i in range(rows):
        digest = hashlib.blake2b(digest_size=16)
        for name in names:
            value = contiguous[name][i]
            digest.update(value.tobytes() if isinstance(value, np.ndarray | np.generic) else str(value).encode())
            digest.update(b"\0")
        digests.append(digest.hexdigest())
    return digests
